import Gateway
import KnapJSON
import Synchronization

/// A backend in memory: methods that echo, fail, report progress or wait for their cancellation.
final class MemoryBackend: Backend {
    private let record = Mutex<[String]>([])
    /// The methods called so far.
    var calls: [String] { record.withLock { $0 } }

    let caller = Caller(principal: "tester")
    var detached: any Backend { self }

    func settled() async {}

    func call(
        _ call: BackendCall, onNote: @escaping @Sendable (BackendNote) async -> Void
    ) async throws(CallFailure) -> BackendReply {
        record.withLock { $0.append(call.method) }
        switch call.method {
        case "test.note": return BackendReply(["content": "# Title\nText", "path": "a.md"])
        case "test.rich":
            return BackendReply(
                ["content": [["type": "image", "data": "AA==", "mimeType": "image/png"]]],
                contentType: BackendReply.result)
        case "test.missing": throw CallFailure(.notFound, "There is no note b.md. The nearest is a.md.")
        case "test.slow":
            for step in [0, 50, 50, 100] {
                await onNote(.progress(["progress": .number(JSONNumber(step)), "total": 100]))
            }
            return BackendReply("done")
        case "test.wait":
            while !Task.isCancelled { await Task.yield() }
            record.withLock { $0.append("cancelled") }
            throw CallFailure(.cancelled, "The call was cancelled.")
        case "test.flood":
            let text = JSON.string(String(repeating: "k", count: 10_000))
            var step = 0
            while !Task.isCancelled {
                step += 1
                await onNote(.progress(["progress": .number(JSONNumber(step)), "message": text]))
            }
            record.withLock { $0.append("cancelled") }
            throw CallFailure(.cancelled, "The call was cancelled.")
        case "test.read":
            let uri = (try? JSON.parse(call.body))?["uri"]
            return BackendReply(["contents": [["uri": uri ?? "", "text": "hello"]]])
        case "test.list": return BackendReply(["resources": [["uri": "note:///a.md", "name": "a"]]])
        case "test.prompt":
            return BackendReply(["messages": [["role": "user", "content": ["type": "text", "text": "Hi"]]]])
        case "test.feed":
            let items: JSON = [
                "items": [
                    ["kind": "tool", "name": "fits", "method": "test.echo"],
                    ["kind": "tool", "name": "unfit", "method": "test.echo", "title": 1],
                ]
            ]
            await onNote(.data(Array(items.serialized().utf8)))
            return BackendReply([:])
        case "host.check_contributions":
            let items = (try? JSON.parse(call.body))?["items"]?.arrayValue ?? []
            let problems = items.map { $0["title"]?.numberValue == nil ? JSON.null : "/title must be a string" }
            return BackendReply(["problems": .array(problems)])
        case "test.complete": return BackendReply(["values": ["one", "two"], "total": 2])
        default: return BackendReply(body: call.body)
        }
    }
}

extension Offer {
    static func tool(
        _ name: String, plugin: String = "vault", isFirstParty: Bool = true, description: String = "",
        method: String = "test.echo", _ more: JSONObject = [:]
    ) -> Offer {
        var item: JSONObject = [
            "kind": "tool", "name": .string(name), "description": .string(description), "method": .string(method),
        ]
        for member in more { item[member.name] = member.value }
        return Offer(
            plugin: plugin, isFirstParty: isFirstParty, item: .object(item), method: ["input": ["type": "object"]])
    }

    /// One of everything.
    static let samples: [Offer] = [
        .tool("read_note", description: "Read a note.", method: "test.note", ["text": "/content"]),
        .tool("echo"), .tool("rich", method: "test.rich"), .tool("missing", method: "test.missing"),
        .tool("slow", method: "test.slow"), .tool("flood", method: "test.flood"), .tool("wait", method: "test.wait"),
        Offer(
            plugin: "vault", isFirstParty: true,
            item: ["kind": "resource_template", "uri": "note:///{+path}", "name": "note", "method": "test.read"]),
        Offer(plugin: "vault", isFirstParty: true, item: ["kind": "resource_list", "method": "test.list"]),
        Offer(
            plugin: "vault", isFirstParty: true,
            item: [
                "kind": "prompt", "name": "review", "method": "test.prompt",
                "arguments": [["name": "language", "required": true]],
            ]),
        Offer(
            plugin: "vault", isFirstParty: true,
            item: [
                "kind": "completion", "ref": ["type": "ref/prompt", "name": "review"], "argument": "language",
                "method": "test.complete",
            ]),
    ]
}

extension Server {
    static func sample(_ offers: [Offer] = Offer.samples) -> Server {
        let catalog = LiveCatalog()
        catalog.publish(offers)
        return Server(
            catalog: catalog, identity: ServerIdentity(name: "knap", title: "Knap", version: "0.1.0"),
            seal: Seal(key: Array(repeating: 7, count: 32)), tasks: TaskStore(catalog: catalog))
    }
}
