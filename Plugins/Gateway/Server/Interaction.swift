import KnapJSON

/// A request to a plugin's method that may need the client's input before it can be answered.
///
/// The method is called in rounds: it answers what it needs, and is called again with what the client said. In the
/// stateless era each round is a request of its own; in the handshake era and in tasks the Gateway goes through them.
struct Interaction: Sendable {
    /// `service.method`.
    var method: String
    /// What the request names, and its arguments.
    var subject: JSONObject
    /// Whether the method takes part in rounds; if not, it gets `input` alone.
    var isInteractive: Bool
    /// What a method that takes no part gets.
    var input: JSON
    /// Makes the request's result of the method's answer.
    var read: @Sendable (BackendReply) throws -> JSONObject
    /// Starts a task that goes on with a state; nil where the request cannot become one.
    var startTask: (@Sendable (_ state: String?) async throws -> JSONObject)?

    /// What came of the rounds before.
    struct Round: Sendable {
        var responses: JSONObject?
        var state: String?
    }

    /// What a method needs before it can go on.
    struct Needs: Sendable {
        var requests: JSONObject
        var state: String?
    }

    enum Outcome: Sendable {
        case done(JSONObject)
        case needs(Needs)
        /// The rest takes long, so it is to be a task where that can be.
        case task(state: String?)
    }

    /// What the method gets.
    func body(of round: Round, in exchange: Exchange) -> JSON {
        guard isInteractive else { return input }
        var input = subject
        let client = exchange.envelope.client
        var facts: JSONObject = [
            "revision": .string(exchange.envelope.revision.rawValue),
            "capabilities": .object(client.capabilities.declared),
        ]
        facts["info"] = client.info
        input["client"] = .object(facts)
        input["inputResponses"] = round.responses.map(JSON.object)
        input["requestState"] = round.state.map(JSON.string)
        return .object(input)
    }

    /// Calls the method once.
    func call(_ round: Round, in exchange: Exchange) async throws -> Outcome {
        let reply = try await exchange.call(method, body(of: round, in: exchange))
        guard reply.contentType == BackendReply.result else { return .done(try read(reply)) }
        let answer = try reply.json(from: method)
        if let error = answer["error"].flatMap(RPCError.init) { throw error }
        switch answer["resultType"]?.stringValue {
        case "input_required": return .needs(try needs(answer, of: exchange.envelope.client.capabilities))
        case "task" where isInteractive: return .task(state: answer["requestState"]?.stringValue)
        default: return .done(try read(reply))
        }
    }

    /// The round in which a method goes on that would rather be a task; nil after every other answer.
    func round(after reply: BackendReply) -> Round? {
        guard isInteractive, reply.contentType == BackendReply.result, let answer = try? reply.json(from: method),
            answer["resultType"]?.stringValue == "task"
        else { return nil }
        return Round(state: answer["requestState"]?.stringValue)
    }

    private func needs(_ answer: JSON, of capabilities: ClientCapabilities) throws -> Needs {
        guard isInteractive else {
            throw CallFailure(
                .internal, "\(method) needs input, but its plugin's manifest does not say that it is interactive.")
        }
        let requests = answer["inputRequests"]?.objectValue ?? JSONObject()
        let state = answer["requestState"]?.stringValue
        guard !requests.isEmpty || state != nil else {
            throw CallFailure(.internal, "\(method) needs input, but says neither what nor with which state to go on.")
        }
        var missing = JSONObject()
        for (key, request) in requests.members {
            guard let kind = request["method"]?.stringValue,
                let needed = ClientCapabilities.needed(for: kind, request["params"] ?? [:])
            else { throw CallFailure(.internal, "\(method) asks \(key), which no client can be asked.") }
            for (name, value) in capabilities.missing(of: needed).members { missing[name] = value }
        }
        guard missing.isEmpty else { throw RPCError.missingCapabilities(missing) }
        return Needs(requests: requests, state: state)
    }
}

extension Server {
    /// More rounds than any conversation with a person has.
    static let maximumRounds = 32

    /// Answers a request, with as many rounds as the era lets one request have.
    func answer(_ interaction: Interaction, to request: Request, in exchange: Exchange) async throws -> JSONObject {
        if exchange.envelope.isModern { return try await answerOnce(interaction, to: request, in: exchange) }
        var round = Interaction.Round()
        for _ in 0..<Self.maximumRounds {
            switch try await interaction.call(round, in: exchange) {
            case .done(let result): return result
            case .needs(let needs):
                round = Interaction.Round(responses: try await ask(needs.requests, in: exchange), state: needs.state)
            case .task(let state): round = Interaction.Round(state: state)
            }
        }
        throw CallFailure(.aborted, "\(interaction.method) asked \(Self.maximumRounds) times and was not done.")
    }

    /// The stateless era: one round a request, and the client carries what is between.
    private func answerOnce(
        _ interaction: Interaction, to request: Request, in exchange: Exchange
    ) async throws -> JSONObject {
        let states = RequestState(
            seal: seal, principal: exchange.backend.principal, method: request.method, subject: interaction.subject)
        var round = Interaction.Round()
        if let responses = request.params["inputResponses"] {
            guard let responses = responses.objectValue else {
                throw RPCError.parameter("inputResponses", "must be an object")
            }
            round.responses = responses
        }
        if let state = request.params["requestState"] {
            guard let state = state.stringValue else { throw RPCError.parameter("requestState", "must be a string") }
            round.state = try states.open(state)
        }
        for _ in 0..<Self.maximumRounds {
            switch try await interaction.call(round, in: exchange) {
            case .done(let result): return result
            case .needs(let needs):
                var result: JSONObject = ["resultType": "input_required"]
                if !needs.requests.isEmpty { result["inputRequests"] = .object(needs.requests) }
                result["requestState"] = needs.state.map { .string(states.close($0)) }
                return result
            case .task(let state):
                if let startTask = interaction.startTask { return try await startTask(state) }
                round = Interaction.Round(state: state)
            }
        }
        throw CallFailure(.aborted, "\(interaction.method) put its work off \(Self.maximumRounds) times.")
    }

    /// Asks a client of the handshake era, all at once.
    private func ask(_ requests: JSONObject, in exchange: Exchange) async throws -> JSONObject {
        guard let session = exchange.session else {
            throw CallFailure(.failedPrecondition, "This client cannot be asked: it has no session.")
        }
        return try await withThrowingTaskGroup(of: (String, JSON).self) { group in
            for (key, request) in requests.members {
                let method = request["method"]?.stringValue ?? ""
                let params = (request["params"]?.objectValue ?? JSONObject()).asked(in: exchange.envelope.revision)
                group.addTask {
                    do throws(RPCError) {
                        return (key, try await session.questions.ask(method, params, send: exchange.send))
                    } catch where error.code == .cancelled {
                        throw CallFailure(.cancelled, error.message)
                    } catch {
                        throw CallFailure(.failedPrecondition, "The client answered \(method) with: \(error.message)")
                    }
                }
            }
            var answers = JSONObject()
            for try await (key, answer) in group { answers[key] = answer }
            return answers
        }
    }
}

extension JSONObject {
    /// The parameters of a question without what its revision did not have.
    fileprivate func asked(in revision: Revision) -> JSONObject {
        guard revision < .november2025, self["mode"]?.stringValue == "form" else { return self }
        var params = self
        params["mode"] = nil
        return params
    }
}
