// A DICOM client on dcmjs-dimse. Reads one JSON object from standard input, sends its requests over one association,
// prints what came back as one JSON object, and exits. It knows no test: whoever runs it judges.
//
// In:  {"host", "port", "calling", "called", "requests": [{"service", ...}]}, where service is
//      echo | worklist {"keys"} | create {"uid", "attributes"} | set {"uid", "attributes"} | get {"uid", "keywords"}
// Out: {"error": "" or why the association failed, "answers": [{"status", "comment", "uid", "datasets"}]}

const { Client, Dataset, requests, constants, log } = require("dcmjs-dimse");

log.setLevel("silent");

const MPPS = constants.SopClass.ModalityPerformedProcedureStep;
const MPPS_RETRIEVE = "1.2.840.10008.3.1.2.3.4"; // the library has no name for it
const PATIENCE = 20000; // milliseconds for everything

function make({ service, uid, keys, attributes, keywords }) {
  if (service === "echo") return new requests.CEchoRequest();
  if (service === "worklist") return requests.CFindRequest.createWorklistFindRequest(keys);
  if (service === "get") return new requests.NGetRequest(MPPS_RETRIEVE, uid, keywords);
  const Request = { create: requests.NCreateRequest, set: requests.NSetRequest }[service];
  const request = new Request(MPPS, uid);
  request.setDataset(new Dataset(attributes));
  return request;
}

function run({ host, port, calling, called, requests: wanted }) {
  const client = new Client();
  const result = { error: "", answers: wanted.map(() => ({ status: null, comment: "", uid: "", datasets: [] })) };
  const end = (error) => {
    result.error = result.error || error;
    process.stdout.write(JSON.stringify(result), () => process.exit(0));
  };
  wanted.forEach((each, number) => {
    const request = make(each);
    request.on("response", (response) => {
      const answer = result.answers[number];
      answer.status = response.getStatus();
      answer.comment = response.getErrorComment() || "";
      answer.uid = response.getAffectedSopInstanceUid() || "";
      if (response.hasDataset()) answer.datasets.push(response.getDataset().getElements());
    });
    client.addRequest(request);
  });
  client.on("associationRejected", (reject) => end(`rejected: ${JSON.stringify(reject)}`));
  // The library takes FF01 for a last answer, asks for its release twice, and trips over a port that grants the first
  // before it has asked again.
  let released = false;
  client.on("associationReleased", () => (released = true));
  client.on("networkError", (error) => end(released ? "" : `network: ${error.message}`));
  client.on("closed", () => end(""));
  setTimeout(() => end("no end in time"), PATIENCE);
  client.send(host, port, calling, called, { associationLingerTimeout: 0 });
}

let typed = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (part) => (typed += part));
process.stdin.on("end", () => run(JSON.parse(typed)));
