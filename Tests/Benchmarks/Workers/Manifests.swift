import Glibc
import KnapJSON

@testable import KnapHost

/// 200 manifests from their files to a plan: read, checked strictly with their schemas, planned.
func measureManifests() throws {
    var template = Array("/tmp/knap-manifests-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { return }
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    for number in 0..<200 {
        try write(Array(manifest(number).utf8), to: "\(folder)/\(number).json")
    }
    var times: [UInt64] = []
    for _ in 0..<15 {
        let start = nanoseconds()
        var input = PlanInput()
        for number in 0..<200 {
            let file = "\(folder)/\(number).json"
            let manifest = try Manifest(try StoredFile(reading: file).content(limit: 1 << 20), file: file)
            for method in manifest.provides.flatMap(\.methods) {
                if let schema = method.input { _ = try Schema.compile(schema) }
            }
            input.candidates.append(Candidate(manifest: manifest, source: file, identity: "\(number)"))
        }
        let plan = Planner.plan(input)
        precondition(plan.starts.joined().count == 200, plan.text)
        times.append(nanoseconds() - start)
    }
    times.sort()
    print("200 manifests read, checked and planned".padded(48), column(fixed(percentile(times, 0.5) / 1000), 6), "ms")
    for number in 0..<200 { unlink("\(folder)/\(number).json") }
    rmdir(folder)
}

/// A plugin with five methods that needs three others, in layers of twenty.
private func manifest(_ number: Int) -> String {
    let layer = number / 20
    let requires = layer == 0 ? [] : (0..<3).map { (layer - 1) * 20 + (number + $0 * 7) % 20 }
    let methods = (0..<5).map { method in
        #"""
        {"name": "do_\#(method)", "blocking": false, "idempotent": true, "deadline_ms": 1000,
         "input": {"type": "object", "additionalProperties": false, "required": ["path"], "properties": {
           "path": {"type": "string", "minLength": 1}, "limit": {"type": "integer", "minimum": 1},
           "tags": {"type": "array", "items": {"type": "string"}}}}, "output": {"type": "object"}}
        """#
    }
    return #"""
        {"manifest": 1, "name": "plugin-\#(number)", "version": "1.\#(number).0", "abi": "draft",
         "requires": [\#(requires.map { #"{"service": "test.s\#($0)", "version": "^1.0.0"}"# }.joined(separator: ", "))],
         "provides": [{"service": "test.s\#(number)", "version": "1.0.0", "methods": [\#(methods.joined(separator: ", "))]}]}
        """#
}

private func write(_ bytes: [UInt8], to path: String) throws {
    let file = try StoredFile(creating: path, mode: 0o600)
    try file.write(bytes)
}
