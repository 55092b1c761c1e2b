import KnapJSON

extension Server {
    func listTools(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        // The budget keeps the list on one page, so no cursor was ever given out.
        guard request.params["cursor"] == nil else { throw RPCError(.invalidParams, "Invalid cursor") }
        await exchange.backend.settled()
        return ["tools": .array(catalog.current.listedTools.filter(exchange.backend.caller.may).map(\.listing))]
    }

    func callTool(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        let arguments = request.params["arguments"] ?? [:]
        guard case .object(let arguments) = arguments else { throw .parameter("arguments", "must be an object") }
        return try await call(request.string("name"), arguments, request, in: exchange, mayUseOthers: true)
    }

    /// Checks the headers of a call that repeat its arguments.
    package func check(_ headers: RoutingHeaders, of request: Request) throws(RPCError) {
        guard let name = request.params["name"]?.stringValue, let tool = catalog.current.tool(named: name) else { return }
        try headers.check(request.params["arguments"], tool.headerArguments)
    }

    /// - Parameter mayUseOthers: False inside `use_tool`, which so cannot call itself.
    private func call(
        _ name: String, _ arguments: JSONObject, _ request: Request, in exchange: Exchange, mayUseOthers: Bool
    ) async throws(RPCError) -> JSONObject {
        var catalog = self.catalog.current
        if catalog.tool(named: name) == nil {
            await exchange.backend.settled()
            catalog = self.catalog.current
        }
        guard let tool = catalog.tool(named: name) else { throw Self.unknownTool(name, in: catalog, exchange) }
        // Before anything is said, so that over HTTP the status can still be 403.
        try exchange.backend.caller.demand(.tool(tool))
        do {
            if !tool.isPlugins { try tool.checkNames(arguments) }
            switch tool.action {
            case .call: return try await run(tool, arguments, request, in: exchange)
            case .find:
                await exchange.backend.settled()
                return try .text(self.catalog.current.find(arguments, for: exchange.backend.caller).serialized())
            case .use:
                guard mayUseOthers else { throw CallFailure(.invalidArgument, "use_tool cannot call itself.") }
                return try await use(arguments, request, in: exchange)
            }
        } catch let failure as CallFailure {
            return try .failed(failure)
        } catch let error as RPCError {
            // Before the stateless era there was no error for this, and the model can work around it.
            guard error.code == .missingClientCapability, !exchange.envelope.isModern else { throw error }
            return try .failed(CallFailure(.failedPrecondition, error.message))
        } catch {
            throw RPCError(.internalError, "\(error)")
        }
    }

    private func use(_ arguments: JSONObject, _ request: Request, in exchange: Exchange) async throws -> JSONObject {
        guard let name = arguments["name"]?.stringValue else {
            throw CallFailure(
                .invalidArgument, "The argument name is required: the name of a tool, as find_tools gives it.")
        }
        guard case .object(let inner) = arguments["arguments"] ?? [:] else {
            throw CallFailure(
                .invalidArgument, "The argument arguments must be an object that fits the tool's input schema.")
        }
        let catalog = self.catalog.current
        // The name is an argument here, so a wrong one is the model's to put right.
        guard catalog.tool(named: name) != nil else {
            throw CallFailure(.notFound, Self.unknownTool(name, in: catalog, exchange).message)
        }
        return try await call(name, inner, request, in: exchange, mayUseOthers: false)
    }

    private func run(
        _ tool: Tool, _ arguments: JSONObject, _ request: Request, in exchange: Exchange
    ) async throws -> JSONObject {
        let client = exchange.envelope.client.capabilities
        let missing = client.missing(of: tool.clientCapabilities)
        guard missing.isEmpty else { throw RPCError.missingCapabilities(missing) }
        let knowsTasks = exchange.envelope.isModern && client.hasExtension(ClientCapabilities.tasks)
        if tool.task == .required { try client.demandTasks() }
        if knowsTasks, tool.task == .optional || tool.task == .required {
            return try await start(tool, arguments, state: nil, in: exchange)
        }
        var interaction = try interaction(tool, arguments, exchange)
        if knowsTasks, tool.task == .decided {
            interaction.startTask = { try await start(tool, arguments, state: $0, in: exchange) }
        }
        return try await answer(interaction, to: request, in: exchange)
    }

    /// The call of a plugin's tool.
    func interaction(_ tool: Tool, _ arguments: JSONObject, _ exchange: Exchange) throws(CallFailure) -> Interaction {
        guard case .call(let method) = tool.action else {
            throw CallFailure(.internal, "\(tool.name) is not a plugin's tool.")
        }
        let revision = exchange.envelope.revision
        return Interaction(
            method: method, subject: ["name": .string(tool.name), "arguments": .object(arguments)],
            isInteractive: tool.isInteractive, input: .object(arguments),
            read: { try ToolResult.read($0, of: tool, method: method, revision: revision) })
    }

    private static func unknownTool(_ name: String, in catalog: Catalog, _ exchange: Exchange) -> RPCError {
        let known = catalog.tools.filter(exchange.backend.caller.may).map(\.name)
        let nearest = NearestName.find(name, among: known).map { " Did you mean \($0)?" } ?? ""
        return RPCError(.invalidParams, "Unknown tool: \(name).\(nearest) find_tools finds tools by what they do.")
    }
}

extension Exchange {
    /// Calls a plugin; what it says meanwhile goes to the client, if the client asked for it.
    func call(_ method: String, _ body: JSON) async throws(CallFailure) -> BackendReply {
        let notes = CallNotes(exchange: self)
        return try await backend.call(
            BackendCall(method, body, trace: envelope.trace), onNote: { await notes.forward($0) })
    }
}
