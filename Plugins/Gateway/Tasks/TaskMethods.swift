import KnapJSON

extension ClientCapabilities {
    static let tasks = "io.modelcontextprotocol/tasks"

    /// Throws unless the client declared that it knows tasks.
    func demandTasks() throws(RPCError) {
        guard hasExtension(Self.tasks) else {
            throw .missingCapabilities(["extensions": .object([Self.tasks: [:]])])
        }
    }
}

extension Server {
    func getTask(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        try await task(of: request, exchange).detailed
    }

    func updateTask(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        let record = try await task(of: request, exchange)
        guard let answers = request.params["inputResponses"]?.objectValue else {
            throw .parameter("inputResponses", "is required and must be an object")
        }
        await tasks.update(record.id, with: answers, work(exchange.backend))
        return [:]
    }

    func cancelTask(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        await tasks.cancel(try await task(of: request, exchange).id)
        return [:]
    }

    /// A task that the caller began and may still see; nil where there is none.
    func task(_ id: String, of caller: Caller) async -> TaskRecord? {
        guard let record = await tasks.find(id, of: caller.principal) else { return nil }
        return catalog.current.tool(named: record.tool).map(caller.may) ?? true ? record : nil
    }

    private func task(of request: Request, _ exchange: Exchange) async throws(RPCError) -> TaskRecord {
        try exchange.envelope.client.capabilities.demandTasks()
        let id = try request.string("taskId")
        guard let record = await tasks.find(id, of: exchange.backend.principal) else {
            throw RPCError(.invalidParams, "There is no task \(id); it may have expired.")
        }
        // Another token of the same principal's may cover less than the one that began it.
        if let tool = catalog.current.tool(named: record.tool) { try exchange.backend.caller.demand(.tool(tool)) }
        return record
    }

    /// Starts a tool as a task and answers its handle.
    func start(
        _ tool: Tool, _ arguments: JSONObject, state: String?, in exchange: Exchange
    ) async throws(RPCError) -> JSONObject {
        let record = try await tasks.create(
            tool: tool.name, arguments: arguments, state: state, client: exchange.envelope.client,
            principal: exchange.backend.principal, work(exchange.backend))
        var result = record.summary
        result["resultType"] = "task"
        return result
    }

    /// One round of a task's tool, independent of the connection that began it.
    private func work(_ backend: any Backend) -> TaskStore.Work {
        { [self] record, progress in
            // The token makes the method's progress come; it goes to the task, not to the client.
            let envelope = Envelope(revision: .modern, client: record.client, progressToken: .string(record.id))
            let exchange = Exchange(envelope: envelope, backend: backend.detached, session: nil) { message in
                guard case .notification(let notification) = message,
                    let text = notification.params["message"]?.stringValue
                else { return }
                await progress(text)
            }
            do {
                guard let tool = catalog.current.tool(named: record.tool) else {
                    throw CallFailure(.unavailable, "The tool \(record.tool) is no longer there.")
                }
                return try await interaction(tool, record.arguments, exchange).call(record.round, in: exchange)
            } catch let failure as CallFailure {
                return .done(try .failed(failure))
            }
        }
    }
}
