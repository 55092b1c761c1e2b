import KnapJSON

/// What a method gets of a request: the path's variables, and the query or the body.
struct RouteInput {
    let route: Route
    let variables: [(name: String, value: String)]

    func call(query: String?, contentType: String?, body: [UInt8], trace: String?) throws(ProblemDetails) -> BackendCall
    {
        if route.verb.takesQuery {
            return BackendCall(route.method, .object(try arguments(query)), trace: trace)
        }
        guard (query ?? "").isEmpty else {
            throw .badRequest(
                "The arguments of a \(route.verb.rawValue) request go into its body, not behind a question mark.")
        }
        let rest = try JSONBody.check(contentType, is: route.inputType, body)
        guard route.inputType.isJSON else { return BackendCall(method: route.method, body: rest, trace: trace) }
        return BackendCall(route.method, try merged(JSONBody.parse(rest)), trace: trace)
    }

    private func arguments(_ query: String?) throws(ProblemDetails) -> JSONObject {
        var arguments = try path()
        let texts = TextArguments(schema: route.argumentSchema)
        for (name, given) in try QueryParameters(query).values {
            guard arguments[name] == nil else { throw .badRequest("\(name) is a part of the path already.") }
            arguments[name] = try texts.value(of: name, given)
        }
        return arguments
    }

    private func merged(_ body: JSON) throws(ProblemDetails) -> JSON {
        let path = try path()
        if path.isEmpty { return body }
        guard case .object(var members) = body else { throw .badRequest("The body must be a JSON object.") }
        for (name, value) in path.members {
            guard members[name] == nil else { throw .badRequest("\(name) is a part of the path already.") }
            members[name] = value
        }
        return .object(members)
    }

    private func path() throws(ProblemDetails) -> JSONObject {
        let texts = TextArguments(schema: route.argumentSchema)
        var arguments = JSONObject()
        for (name, value) in variables { arguments[name] = try texts.value(of: name, [value]) }
        return arguments
    }
}

/// Bodies of requests.
enum JSONBody {
    /// The body, if it is of the type that is wanted; an empty one needs none.
    static func check(_ contentType: String?, is wanted: MediaType, _ body: [UInt8]) throws(ProblemDetails) -> [UInt8] {
        if body.isEmpty { return body }
        guard contentType.flatMap(MediaType.init) == wanted else {
            let given = contentType.map { ", not \($0.prefix(100))" } ?? ""
            throw ProblemDetails(status: 415, "The content type must be \(wanted.name)\(given).")
        }
        return body
    }

    /// An empty body is an object without members.
    static func parse(_ body: [UInt8]) throws(ProblemDetails) -> JSON {
        do {
            return body.isEmpty ? [:] : try JSON.parse(body)
        } catch {
            throw .badRequest("The body is not JSON: \(error.message)")
        }
    }
}
