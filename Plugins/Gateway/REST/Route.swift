import KnapJSON

/// A method of a plugin at an address of its own: a contribution to the point `http`.
package struct Route: Sendable, Hashable {
    package enum Verb: String, Sendable, Hashable, CaseIterable {
        case get = "GET"
        case post = "POST"
        case put = "PUT"
        case patch = "PATCH"
        case delete = "DELETE"

        /// Whether its arguments are in the address, and not in a body (RFC 9110, section 9.3).
        package var takesQuery: Bool { self == .get || self == .delete }
    }

    package var plugin: String
    package var verb: Verb
    package var template: RouteTemplate
    /// `service.method`.
    package var method: String
    package var description: String
    package var input: JSON?
    /// The input schema with anchors as pointers, by which the texts of an address are read.
    let argumentSchema: JSON
    package var output: JSON?
    package var inputType: MediaType
    package var outputType: MediaType
    /// Whether the method sends items before its answer.
    package var streams: Bool

    var name: String { "\(verb.rawValue) \(template)" }

    init(_ offer: Offer) throws(Unservable) {
        guard offer.isOwn, let entry = offer.method else {
            throw Unservable("its method is not one that the plugin itself provides")
        }
        guard let verb = offer.item["verb"]?.stringValue.flatMap(Verb.init) else {
            throw Unservable("its verb is none of \(Verb.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        plugin = offer.plugin
        self.verb = verb
        template = try RouteTemplate(offer.item.required("path"))
        method = try offer.item.required("method")
        description = entry["description"]?.stringValue ?? ""
        input = entry["input"]
        argumentSchema = (try? RebasedSchema(input ?? true, at: "#", "input").json) ?? input ?? true
        output = entry["output"]
        inputType = try entry.mediaType("content_type")
        outputType = try entry.mediaType("output_content_type")
        switch entry["streams"]?.stringValue {
        case nil, "none": streams = false
        case "out": streams = true
        case let direction?: throw Unservable("its method streams \(direction), and a request is one body")
        }
        try checkAddress()
        try checkArguments()
    }

    /// What the Gateway itself has, and keeps for what it may get.
    static let reserved: Set<String> = ["", ".well-known", "health", "mcp", "openapi.json", "tools"]

    private func checkAddress() throws(Unservable) {
        guard case .literal(let first) = template.segments.first else {
            throw Unservable("its path must begin with a fixed part, so that it takes no other plugin's requests")
        }
        guard !Self.reserved.contains(first) else {
            throw Unservable("/\(first) is the Gateway's own; begin the path with another part")
        }
    }

    private func checkArguments() throws(Unservable) {
        guard inputType.isJSON else {
            let reason = "its method takes \(inputType.name), which "
            if verb.takesQuery { throw Unservable(reason + "a \(verb.rawValue) request has no body for") }
            guard template.variables.isEmpty else { throw Unservable(reason + "has no place for the path's variables") }
            return
        }
        let known = input?["properties"]?.objectValue ?? JSONObject()
        guard input?["additionalProperties"] == false else { return }
        for variable in template.variables where known[variable] == nil {
            throw Unservable("its path has {\(variable)}, which its method's input does not know")
        }
    }
}

extension JSON {
    /// The content type that a manifest's method has; JSON where it says nothing.
    fileprivate func mediaType(_ name: String) throws(Unservable) -> MediaType {
        let text = self[name]?.stringValue ?? MediaType.json.name
        guard let type = MediaType(text) else { throw Unservable("\(name) of its method, \(text), is no media type") }
        return type
    }
}
