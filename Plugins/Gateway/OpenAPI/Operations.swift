import KnapJSON

extension Tool {
    /// `GET /tools/NAME`.
    var describing: JSON {
        [
            "operationId": .string("\(name).describe"), "tags": [.string(plugin)],
            "summary": .string("Describe \(name)"),
            "responses": ["200": OpenAPIDocument.tool, "default": OpenAPIDocument.problem],
        ]
    }

    /// `POST /tools/NAME`.
    func operation(_ schemas: inout OpenAPISchemas) -> JSON {
        var operation: JSONObject = ["operationId": .string(name), "tags": [.string(plugin)]]
        operation["summary"] = .string(title ?? name)
        operation["description"] = description.isEmpty ? nil : .string(description)
        operation["requestBody"] = [
            "required": .bool(inputSchema.demandsMembers),
            "content": ["application/json": ["schema": schemas.add(inputSchema, named: "\(name).input")]],
        ]
        operation["responses"] = output.responses(named: name, &schemas)
        return .object(operation)
    }
}

extension Route {
    /// - Parameter names: What the path calls the variables, in their order.
    func operation(_ id: String, _ names: [String], _ schemas: inout OpenAPISchemas) -> JSON {
        var operation: JSONObject = ["operationId": .string(id), "tags": [.string(plugin)]]
        operation["description"] = description.isEmpty ? nil : .string(description)
        let whole = schemas.rebased(input, as: "\(id).input")
        let properties = whole?.json["properties"]?.objectValue ?? [:]
        var parameters = zip(template.segments.filter { $0.variable != nil }, names).map { segment, name in
            Self.parameter(of: segment, named: name, properties)
        }
        if verb.takesQuery {
            let required = (whole?.json["required"]?.arrayValue ?? []).compactMap(\.stringValue)
            for (name, schema) in properties where !template.variables.contains(name) {
                parameters.append(Self.queryParameter(name, schema, isRequired: required.contains(name)))
            }
        } else {
            operation["requestBody"] = body(id, whole?.json, &schemas)
        }
        // Its parts refer to others by the whole.
        if let whole, whole.refersToItself { _ = schemas.add(whole.json, as: "\(id).input") }
        operation["parameters"] = parameters.isEmpty ? nil : .array(parameters)
        let output = MethodOutput(schema: output, type: outputType)
        operation["responses"] = streams ? streamResponses(id, &schemas) : output.responses(named: id, &schemas)
        return .object(operation)
    }

    private static func parameter(
        of segment: RouteTemplate.Segment, named name: String, _ properties: JSONObject
    ) -> JSON {
        let schema = segment.variable.flatMap { properties[$0] }
        var parameter: JSONObject = ["name": .string(name), "in": "path", "required": true]
        parameter["description"] = schema?["description"]
        if case .rest = segment { parameter["description"] = .string(restDescription(schema)) }
        parameter["schema"] = schema ?? ["type": "string"]
        return .object(parameter)
    }

    private static func restDescription(_ schema: JSON?) -> String {
        let more = "It may have slashes."
        return schema?["description"]?.stringValue.map { "\($0) \(more)" } ?? more
    }

    private static func queryParameter(_ name: String, _ schema: JSON, isRequired: Bool) -> JSON {
        var parameter: JSONObject = ["name": .string(name), "in": "query"]
        if isRequired { parameter["required"] = true }
        parameter["description"] = schema["description"]
        // An object is written as JSON.
        if schema["type"] == "object" {
            parameter["content"] = ["application/json": ["schema": schema]]
        } else {
            parameter["schema"] = schema
        }
        return .object(parameter)
    }

    /// The input without what the path has of it.
    private func body(_ id: String, _ whole: JSON?, _ schemas: inout OpenAPISchemas) -> JSON {
        guard inputType.isJSON else {
            let schema: JSON = inputType.isText ? ["schema": ["type": "string"]] : [:]
            return ["required": true, "content": .object([inputType.name: schema])]
        }
        guard let whole else { return ["content": ["application/json": [:]]] }
        let body = whole.without(properties: template.variables)
        let name = template.variables.isEmpty ? "\(id).input" : "\(id).body"
        return [
            "required": .bool(body.demandsMembers || body["type"] != "object"),
            "content": .object([inputType.name: ["schema": schemas.add(body, as: name)]]),
        ]
    }

    private func streamResponses(_ id: String, _ schemas: inout OpenAPISchemas) -> JSON {
        let type = outputType.isJSON ? "text/event-stream" : outputType.name
        let schema: JSON = type.hasPrefix("text/") ? ["type": "string"] : [:]
        return [
            "200": OpenAPIDocument.response("What the method sends, as it comes.", schema, type: type),
            "default": OpenAPIDocument.problem,
        ]
    }
}

extension MethodOutput {
    init(schema: JSON?, type: MediaType?) {
        self.schema = schema
        self.type = type
    }

    fileprivate func responses(named name: String, _ schemas: inout OpenAPISchemas) -> JSON {
        let isJSON = type?.isJSON ?? true
        var schema: JSON = type?.isText == true ? ["type": "string"] : [:]
        if isJSON { schema = schemas.add(self.schema, named: "\(name).output") }
        // What an MCP result has for programs comes alone, as JSON.
        let name = type.map { $0.name == BackendReply.result ? MediaType.json.name : $0.name } ?? MediaType.json.name
        return [
            "200": OpenAPIDocument.response("What the method answers.", schema, type: name),
            "default": OpenAPIDocument.problem,
        ]
    }
}

extension JSON {
    fileprivate var demandsMembers: Bool { self["required"]?.arrayValue?.isEmpty == false }

    fileprivate func without(properties names: [String]) -> JSON {
        guard !names.isEmpty, var schema = objectValue else { return self }
        if var properties = schema["properties"]?.objectValue {
            for name in names { properties[name] = nil }
            schema["properties"] = .object(properties)
        }
        if let required = schema["required"]?.arrayValue {
            schema["required"] = .array(required.filter { $0.stringValue.map { !names.contains($0) } ?? true })
        }
        return .object(schema)
    }
}
