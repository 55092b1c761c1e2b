import KnapHost
import KnapJSON

// What it costs to check a tool call's input of 256 bytes against its schema where it enters from outside.

let schema = try Schema.compile(
    JSON.parse(
        #"""
        {"type": "object", "additionalProperties": false, "required": ["path", "content"], "properties": {
          "path": {"type": "string", "minLength": 1}, "content": {"type": "string"},
          "overwrite": {"type": "boolean"}, "version": {"type": "string"},
          "limit": {"type": "integer", "minimum": 1}, "offset": {"type": "integer", "minimum": 0}}}
        """#))
let filler = String(repeating: "knap ", count: 29)
let text = #"{"path":"Folder/Note about nothing.md","content":"\#(filler)","overwrite":true,"limit":20,"offset":140}"#
var body = Array(text.utf8)
while body.count < 256 { body.insert(0x20, at: 1) }

let clock = ContinuousClock()
let rounds = 20_000

/// The median of 15 rounds, in nanoseconds a call.
func measure(_ name: String, _ work: () throws -> Bool) rethrows {
    var times: [Double] = []
    for _ in 0..<15 {
        let began = clock.now
        for _ in 0..<rounds {
            let holds = try work()
            precondition(holds)
        }
        let (seconds, attoseconds) = (clock.now - began).components
        times.append((Double(seconds) * 1e9 + Double(attoseconds) / 1e9) / Double(rounds))
    }
    let nanoseconds = times.sorted()[7]
    let padded = name + String(repeating: " ", count: max(0, 44 - name.count))
    print("\(padded) \(Int(nanoseconds.rounded())) ns")
}

try measure("parse a body of \(body.count) bytes") { try JSON.parse(body).objectValue != nil }
let value = try JSON.parse(body)
measure("check it against its schema") { schema.isValid(value) }
