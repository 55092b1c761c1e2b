import Glibc
import KnapJSON
import KnapPlugin

/// Changes that somebody asked for. Each has a number at once and goes on without its caller.
struct Operations {
    struct Operation {
        var number: Int
        var kind: String
        var target: String
        var startedAt = wallClockMilliseconds()
        /// Nil while it runs.
        var outcome: Result<String, PluginError>?
        var task: Task<Void, Never>?
    }

    private(set) var all: [Int: Operation] = [:]
    private var last = 0

    mutating func begin(_ kind: String, _ target: String) -> Int {
        last += 1
        all[last] = Operation(number: last, kind: kind, target: target)
        all[last - 200] = nil
        return last
    }

    mutating func run(_ number: Int, _ task: Task<Void, Never>) { all[number]?.task = task }
    mutating func finish(_ number: Int, _ outcome: Result<String, PluginError>) { all[number]?.outcome = outcome }
}

extension Operations.Operation {
    var json: JSON {
        var object: JSONObject = [
            "operation": .number(JSONNumber(number)), "kind": .string(kind), "target": .string(target),
            "started_ms": .number(JSONNumber(startedAt)),
        ]
        switch outcome {
        case nil: object["state"] = "running"
        case .success(let message):
            object["state"] = "done"
            object["message"] = .string(message)
        case .failure(let error):
            object["state"] = "failed"
            object["message"] = .string(error.message)
        }
        return .object(object)
    }
}

extension Host {
    /// Starts a change and says its number; it waits for those before it.
    func begin(
        _ kind: String, _ target: String, _ body: @escaping @Sendable () async throws(PluginError) -> String
    ) -> JSON {
        let number = operations.begin(kind, target)
        let task = Task {
            await change { [self] in await carryOut(number, kind, target, body) }
        }
        operations.run(number, task)
        return ["operation": .number(JSONNumber(number)), "state": "running"]
    }

    private func carryOut(
        _ number: Int, _ kind: String, _ target: String, _ body: @Sendable () async throws(PluginError) -> String
    ) async {
        let before = records[target]?.instance?.artifact
        let outcome: Result<String, PluginError>
        do throws(PluginError) { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        await note(kind, target, before, outcome)
        operations.finish(number, outcome)
    }

    /// An operation, when it has ended if `wait`.
    func operation(_ number: Int, wait: Bool) async throws(PluginError) -> JSON {
        guard let operation = operations.all[number] else {
            throw PluginError(code: .notFound, message: "there is no operation \(number), or it is long gone; see `knap history`")
        }
        if wait { await operation.task?.value }
        return operations.all[number]?.json ?? operation.json
    }

    func note(
        _ kind: String, _ target: String, _ before: Artifact?, _ outcome: Result<String, PluginError>
    ) async {
        var entry: JSONObject = [
            "time_ms": .number(JSONNumber(wallClockMilliseconds())), "change": .string(kind), "plugin": .string(target),
        ]
        if let before { entry["from"] = .string("\(before.manifest.version) \(before.digest)") }
        if let after = records[target]?.instance?.artifact {
            entry["to"] = .string("\(after.manifest.version) \(after.digest)")
        }
        switch outcome {
        case .success(let message): entry["outcome"] = .string(message)
        case .failure(let error): entry["error"] = .string(error.message)
        }
        let (history, record) = (history, JSON.object(entry))
        let written: Result<Void, StoreError> = await onOwnThread {
            Result { () throws(StoreError) in try history.add(record) }
        }
        if case .failure(let error) = written { logger.error("history not written", metadata: ["reason": "\(error)"]) }
    }
}
