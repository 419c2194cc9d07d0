// A judge of FHIR R4 resources: npm's fhir. Reads resources from standard input, one JSON object a line, and writes for
// each, in a line of its own, the list of its complaints: [{location, message, severity}].
"use strict";

const readline = require("node:readline");
const { Fhir } = require("fhir");

const fhir = new Fhir();
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { messages } = fhir.validate(JSON.parse(line), { errorOnUnexpected: true });
    const complaints = messages.map(({ location, message, severity }) => ({ location, message, severity }));
    process.stdout.write(`${JSON.stringify(complaints)}\n`);
  });
