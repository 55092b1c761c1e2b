import KnapJSON

/// The tools at `/tools`: each is listed, described and called by its name.
struct ToolAddresses: Sendable {
    let server: Server

    /// The list, in its order for MCP, and with the tools that have no room there.
    func list() -> JSON {
        let tools = server.catalog.current.tools.map { tool in
            var entry: JSONObject = ["name": .string(tool.name), "path": .string("/tools/\(tool.name)")]
            entry["title"] = tool.title.map(JSON.string)
            entry["description"] = .string(tool.description)
            entry["plugin"] = .string(tool.plugin)
            entry["unavailable"] = tool.restObstacle.map(JSON.string)
            return JSON.object(entry)
        }
        return ["tools": .array(tools)]
    }

    func description(of tool: Tool) -> JSON {
        var description = tool.listing.objectValue ?? JSONObject()
        description["plugin"] = .string(tool.plugin)
        description["outputSchema"] = tool.output.schema
        description["unavailable"] = tool.restObstacle.map(JSON.string)
        return .object(description)
    }

    /// The tool of a name; one that plugins which are still starting have is waited for.
    func tool(_ name: String, _ backend: any Backend) async throws(ProblemDetails) -> Tool {
        if let tool = server.catalog.current.tool(named: name) { return tool }
        await backend.settled()
        let catalog = server.catalog.current
        if let tool = catalog.tool(named: name) { return tool }
        throw .notFound(
            "There is no tool \(name.prefix(100)); GET /tools lists them.",
            nearest: NearestName.find(name, among: catalog.tools.map(\.name)))
    }

    func call(_ tool: Tool, _ body: JSON, in exchange: Exchange) async throws(ProblemDetails) -> Answer {
        guard case .object(let arguments) = body else { throw .badRequest("The arguments must be a JSON object.") }
        if let obstacle = tool.restObstacle { throw .unanswerable(obstacle) }
        let reply: BackendReply
        do throws(CallFailure) {
            reply = try await self.reply(of: tool, to: arguments, in: exchange)
        } catch {
            throw ProblemDetails(error)
        }
        return try MethodAnswer.read(reply, of: tool.name, declared: tool.output.type)
    }

    private func reply(
        of tool: Tool, to arguments: JSONObject, in exchange: Exchange
    ) async throws(CallFailure) -> BackendReply {
        guard case .call(let method) = tool.action else {
            try tool.checkNames(arguments)
            await exchange.backend.settled()
            return BackendReply(try server.catalog.current.find(arguments, for: exchange.backend.caller))
        }
        let interaction = try server.interaction(tool, arguments, exchange)
        var round = Interaction.Round()
        for _ in 0..<Server.maximumRounds {
            let reply = try await exchange.call(method, interaction.body(of: round, in: exchange))
            guard let next = interaction.round(after: reply) else { return reply }
            round = next
        }
        throw CallFailure(.aborted, "\(method) put its work off \(Server.maximumRounds) times.")
    }
}

extension Tool {
    /// Why a caller of REST cannot have the tool; nil where it can.
    var restObstacle: String? {
        if case .use = action { return "POST /tools/NAME calls every tool by its own name." }
        if !clientCapabilities.isEmpty {
            let names = clientCapabilities.names.joined(separator: ", ")
            return "\(name) needs a client of MCP with the capability \(names)."
        }
        return task == .required ? "\(name) runs as a task only, for which a client of MCP is needed." : nil
    }
}
