import KnapJSON

extension Server {
    func listPrompts(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        guard request.params["cursor"] == nil else { throw RPCError(.invalidParams, "Invalid cursor") }
        await exchange.backend.settled()
        let prompts = exchange.backend.caller.may(.prompts) ? catalog.current.prompts : []
        return ["prompts": .array(prompts.map(\.listing))]
    }

    func getPrompt(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        let name = try request.string("name")
        try exchange.backend.caller.demand(.prompts)
        let prompts = catalog.current.prompts
        guard let prompt = prompts.first(where: { $0.name == name }) else {
            let nearest = NearestName.find(name, among: prompts.map(\.name)).map { " Did you mean \($0)?" } ?? ""
            throw RPCError(.invalidParams, "Unknown prompt: \(name).\(nearest)")
        }
        let arguments = request.params["arguments"] ?? [:]
        guard case .object(let values) = arguments, values.allSatisfy({ $0.value.stringValue != nil }) else {
            throw .parameter("arguments", "must be an object whose values are strings")
        }
        if let missing = prompt.requiredArguments.first(where: { values[$0] == nil }) {
            throw RPCError(.invalidParams, "The prompt \(name) needs the argument \(missing).")
        }
        let subject: JSONObject = ["name": .string(name), "arguments": arguments]
        let interaction = Interaction(
            method: prompt.method, subject: subject, isInteractive: prompt.isInteractive, input: .object(subject)
        ) { reply in
            guard case .object(let result) = try reply.json(from: prompt.method), result["messages"]?.arrayValue != nil
            else { throw CallFailure(.internal, "\(prompt.method) answered without messages.") }
            return result
        }
        return try await perform(interaction, for: request, in: exchange)
    }

    /// Answers a request whose failures are errors rather than results.
    func perform(
        _ interaction: Interaction, for request: Request, in exchange: Exchange
    ) async throws(RPCError) -> JSONObject {
        do {
            return try await answer(interaction, to: request, in: exchange)
        } catch let error as RPCError {
            throw error
        } catch let failure as CallFailure {
            throw RPCError(calling: interaction.method, failure)
        } catch {
            throw RPCError(.internalError, "\(error)")
        }
    }

    func complete(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        guard let subject = Completion.Subject(request.params["ref"]) else {
            throw .parameter(
                "ref", "must be {\"type\": \"ref/prompt\", \"name\"} or {\"type\": \"ref/resource\", \"uri\"}")
        }
        guard let name = request.params["argument"]?["name"]?.stringValue,
            request.params["argument"]?["value"]?.stringValue != nil
        else { throw .parameter("argument", "must have a name and a value, both strings") }
        try exchange.backend.caller.demand(subject.use)
        let catalog = self.catalog.current
        guard catalog.has(subject) else {
            throw RPCError(.invalidParams, "There is nothing like that ref to complete.")
        }
        let contributed = catalog.completions.first { $0.subject == subject && $0.argument == name }
        guard let completion = contributed else { return ["completion": ["values": [], "total": 0, "hasMore": false]] }
        do throws(CallFailure) {
            var input = JSONObject()
            for member in ["ref", "argument", "context"] { input[member] = request.params[member] }
            let output = try await exchange.call(completion.method, .object(input)).json(from: completion.method)
            return ["completion": Self.bounded(output)]
        } catch {
            throw RPCError(calling: completion.method, error)
        }
    }

    /// At most 100 values, as the specification demands.
    private static func bounded(_ output: JSON) -> JSON {
        let values = (output["values"]?.arrayValue ?? []).filter { $0.stringValue != nil }
        var completion: JSONObject = ["values": .array(Array(values.prefix(100)))]
        completion["total"] = output["total"]?.intValue.map { .number(JSONNumber($0)) }
        completion["hasMore"] = .bool(values.count > 100 || output["hasMore"]?.boolValue == true)
        return .object(completion)
    }
}

extension Completion.Subject {
    /// What is completed belongs to it.
    fileprivate var use: Use {
        switch self {
        case .prompt: .prompts
        case .resource: .resources
        }
    }
}

extension Catalog {
    fileprivate func has(_ subject: Completion.Subject) -> Bool {
        switch subject {
        case .prompt(let name): prompts.contains { $0.name == name }
        case .resource(let uri): templates.contains { $0.template.text == uri } || resources.contains { $0.uri == uri }
        }
    }
}
