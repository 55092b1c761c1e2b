import KnapJSON

extension Server {
    func listTools(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        // The budget keeps the list on one page, so no cursor was ever given out.
        guard request.params["cursor"] == nil else { throw RPCError(.invalidParams, "Invalid cursor") }
        await exchange.backend.settled()
        return ["tools": .array(feed.current.listedTools.map(\.listing))]
    }

    func callTool(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        let arguments = request.params["arguments"] ?? [:]
        guard case .object(let arguments) = arguments else { throw .parameter("arguments", "must be an object") }
        return try await call(request.string("name"), arguments, in: exchange, mayUseOthers: true)
    }

    /// - Parameter mayUseOthers: False inside `use_tool`, which so cannot call itself.
    private func call(
        _ name: String, _ arguments: JSONObject, in exchange: Exchange, mayUseOthers: Bool
    ) async throws(RPCError) -> JSONObject {
        var catalog = feed.current
        if catalog.tool(named: name) == nil {
            await exchange.backend.settled()
            catalog = feed.current
        }
        guard let tool = catalog.tool(named: name) else { throw Self.unknownTool(name, in: catalog) }
        do {
            switch tool.action {
            case .call(let method): return try await call(method, of: tool, arguments, in: exchange)
            case .find:
                await exchange.backend.settled()
                return try .text(feed.current.find(arguments).serialized())
            case .use:
                guard mayUseOthers else { throw CallFailure(.invalidArgument, "use_tool cannot call itself.") }
                return try await use(arguments, in: exchange)
            }
        } catch let failure as CallFailure {
            return try .failed(failure)
        } catch let error as RPCError {
            throw error
        } catch {
            throw RPCError(.internalError, "\(error)")
        }
    }

    private func use(_ arguments: JSONObject, in exchange: Exchange) async throws -> JSONObject {
        guard let name = arguments["name"]?.stringValue else {
            throw CallFailure(
                .invalidArgument, "The argument name is required: the name of a tool, as find_tools gives it.")
        }
        guard case .object(let inner) = arguments["arguments"] ?? [:] else {
            throw CallFailure(
                .invalidArgument, "The argument arguments must be an object that fits the tool's input schema.")
        }
        let catalog = feed.current
        // The name is an argument here, so a wrong one is the model's to put right.
        guard catalog.tool(named: name) != nil else {
            throw CallFailure(.notFound, Self.unknownTool(name, in: catalog).message)
        }
        return try await call(name, inner, in: exchange, mayUseOthers: false)
    }

    private func call(
        _ method: String, of tool: Tool, _ arguments: JSONObject, in exchange: Exchange
    ) async throws(CallFailure) -> JSONObject {
        let reply = try await exchange.call(method, .object(arguments))
        return try ToolResult.read(reply, of: tool, method: method, revision: exchange.envelope.revision)
    }

    private static func unknownTool(_ name: String, in catalog: Catalog) -> RPCError {
        let nearest = NearestName.find(name, among: catalog.tools.map(\.name)).map { " Did you mean \($0)?" } ?? ""
        return RPCError(.invalidParams, "Unknown tool: \(name).\(nearest) find_tools finds tools by what they do.")
    }
}

extension Exchange {
    /// Calls a plugin; what it says meanwhile goes to the client, if the client asked for it.
    func call(_ method: String, _ body: JSON) async throws(CallFailure) -> BackendReply {
        let notes = CallNotes(exchange: self)
        return try await backend.call(
            BackendCall(method: method, body: body, trace: envelope.trace), onNote: { await notes.forward($0) })
    }
}
