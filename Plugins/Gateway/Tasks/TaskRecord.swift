import KnapJSON

/// A tool call that goes on after its request was answered (extension `io.modelcontextprotocol/tasks`, 2026-07-28).
///
/// Everything is in it that is needed to go on at the next generation or after a restart.
package struct TaskRecord: Sendable {
    enum Status: String, Sendable {
        case working
        case inputRequired = "input_required"
        case completed, failed, cancelled

        var isOver: Bool { self != .working && self != .inputRequired }
    }

    /// How long a task is kept after it last changed.
    static let retention = 3600
    private static let pollMilliseconds = 500

    let id: String
    /// Whose it is: nobody else sees it.
    let principal: String
    let tool: String
    let arguments: JSONObject
    let client: ClientIdentity
    let created: Instant
    private(set) var updated: Instant
    private(set) var status = Status.working
    /// For people: how far it is, or what went wrong.
    private(set) var message: String?
    private(set) var result: JSONObject?
    /// About how much it holds.
    private(set) var size: Int
    private(set) var error: RPCError?

    /// What the client is asked, under names that are used once in a task.
    private(set) var requests = JSONObject()
    /// The method's own names of what was ever asked, by the names that the client sees.
    private var keys = JSONObject()
    /// What the client has answered of the open round, under the method's names.
    private var responses = JSONObject()
    private var state: String?

    init(
        id: String, principal: String, tool: String, arguments: JSONObject, client: ClientIdentity,
        state: String? = nil, now: Instant
    ) {
        self.id = id
        self.principal = principal
        self.tool = tool
        self.arguments = arguments
        self.client = client.kept
        self.state = state
        size = JSON.object(arguments).approximateSize
        created = now
        updated = now
    }

    func isExpired(_ now: Instant) -> Bool { status != .working && now.seconds > updated.seconds + Self.retention }

    /// The next round: what the client answered in this one, and the method's own state.
    var round: Interaction.Round {
        Interaction.Round(responses: responses.isEmpty ? nil : responses, state: state)
    }
}

// MARK: - What happens to it

extension TaskRecord {
    mutating func progress(_ message: String, _ now: Instant) {
        guard status == .working else { return }
        self.message = message
        updated = now
    }

    mutating func wait(for needs: Interaction.Needs, _ now: Instant) {
        guard status == .working else { return }
        requests = JSONObject()
        responses = JSONObject()
        state = needs.state
        for (key, request) in needs.requests.members {
            // A name that was used before gets a number.
            var name = key
            var number = keys.count
            while keys[name] != nil {
                number += 1
                name = "\(key)-\(number)"
            }
            keys[name] = .string(key)
            requests[name] = request
        }
        status = requests.isEmpty ? .working : .inputRequired
        message = nil
        updated = now
    }

    /// Takes answers to what is open and drops the others. True where it took one.
    mutating func take(_ answers: JSONObject, _ now: Instant) -> Bool {
        guard status == .inputRequired else { return false }
        var hasTaken = false
        for (name, answer) in answers.members {
            guard requests[name] != nil, let key = keys[name]?.stringValue else { continue }
            requests[name] = nil
            responses[key] = answer
            size += answer.approximateSize
            updated = now
            hasTaken = true
        }
        if requests.isEmpty { status = .working }
        return hasTaken
    }

    /// False where it was over already.
    @discardableResult
    mutating func end(_ outcome: Result<JSONObject, RPCError>, _ now: Instant) -> Bool {
        guard !status.isOver else { return false }
        switch outcome {
        case .success(let result):
            status = .completed
            self.result = result
            self.result?["resultType"] = "complete"
            message = nil
        case .failure(let error):
            status = .failed
            self.error = error
            message = error.message
        }
        close(now)
        return true
    }

    /// False where it was over already.
    mutating func cancel(_ now: Instant) -> Bool {
        guard !status.isOver else { return false }
        status = .cancelled
        message = nil
        close(now)
        return true
    }

    /// Drops what only another round would have needed.
    private mutating func close(_ now: Instant) {
        requests = JSONObject()
        responses = JSONObject()
        state = nil
        size = JSON.object(arguments).approximateSize + (result.map { JSON.object($0).approximateSize } ?? 0)
        updated = now
    }
}

// MARK: - As JSON

extension TaskRecord {
    /// A `Task` of the extension.
    var summary: JSONObject {
        var task: JSONObject = ["taskId": .string(id), "status": .string(status.rawValue)]
        task["statusMessage"] = message.map(JSON.string)
        task["createdAt"] = .string(created.text)
        task["lastUpdatedAt"] = .string(updated.text)
        task["ttlMs"] = .number(JSONNumber((updated.seconds - created.seconds + Self.retention) * 1000))
        task["pollIntervalMs"] = .number(JSONNumber(Self.pollMilliseconds))
        return task
    }

    /// A `DetailedTask`: with what it asks for, or what came of it.
    var detailed: JSONObject {
        var task = summary
        switch status {
        case .inputRequired: task["inputRequests"] = .object(requests)
        case .completed: task["result"] = result.map(JSON.object)
        case .failed: task["error"] = error?.json
        case .working, .cancelled: break
        }
        return task
    }

    /// As it is kept on disk.
    var json: JSON {
        var kept = detailed
        kept["principal"] = .string(principal)
        kept["tool"] = .string(tool)
        kept["arguments"] = .object(arguments)
        kept["capabilities"] = .object(client.capabilities.declared)
        kept["info"] = client.info
        kept["created"] = .number(JSONNumber(created.seconds))
        kept["updated"] = .number(JSONNumber(updated.seconds))
        kept["keys"] = .object(keys)
        kept["responses"] = .object(responses)
        kept["state"] = state.map(JSON.string)
        return .object(kept)
    }

    /// Nil for what `json` did not write.
    init?(_ json: JSON) {
        guard let id = json["taskId"]?.stringValue, let principal = json["principal"]?.stringValue,
            let tool = json["tool"]?.stringValue, let arguments = json["arguments"]?.objectValue,
            let created = json["created"]?.intValue, let updated = json["updated"]?.intValue,
            let status = json["status"]?.stringValue.flatMap(Status.init(rawValue:))
        else { return nil }
        let capabilities = ClientCapabilities(json["capabilities"]?.objectValue ?? JSONObject())
        self.init(
            id: id, principal: principal, tool: tool, arguments: arguments,
            client: ClientIdentity(capabilities: capabilities, info: json["info"]), now: Instant(seconds: created))
        self.updated = Instant(seconds: updated)
        self.status = status
        message = json["statusMessage"]?.stringValue
        result = json["result"]?.objectValue
        size += json["result"]?.approximateSize ?? 0
        error = json["error"].flatMap(RPCError.init)
        requests = json["inputRequests"]?.objectValue ?? JSONObject()
        keys = json["keys"]?.objectValue ?? JSONObject()
        responses = json["responses"]?.objectValue ?? JSONObject()
        state = json["state"]?.stringValue
    }
}
