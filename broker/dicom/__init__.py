"""The modality's side: worklist, performed procedure steps, verification, and the archive.

Five rules hold here, and this is where:
standard terms: a variable that is a DICOM element bears its keyword, statuses and types come from PS3.x tables
(`statuses`, `worklist.attributes`, `mpps.rules`, `upper_layer.table`);
strict when making: answers have their type 1 attributes, lengths and character sets that their VRs allow
(`worklist.response`), PDUs and command sets are checked as they are written (`strict` of the `upper_layer` writers;
only what a device sent itself goes back to it as it came);
lenient when reading: what devices really send is read as it is meant (`codec.charset`, `upper_layer` readers without
`strict`, `mpps` of devices that are not strict), but a matching key that is not understood is refused, never dropped;
never half valid: bytes are parsed to their end or refused (`codec.decoding`), a message is committed whole or not at
all, a worklist file is imported or reported;
converted once at the border: bytes become Unicode text and domain values in `codec`, `worklist.query`, `mpps.parsing`
and `files.worklist_file`, and go out again in `worklist.response`; hex tags and DICOM JSON stay in this package.
"""
