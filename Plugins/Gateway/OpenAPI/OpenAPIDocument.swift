import HTTPTypes
import KnapJSON

/// What is served over REST, as an OpenAPI 3.1.0 document made of the plugins' manifests.
///
/// The same plugins give the same bytes: tools in the order of their list, then routes by their addresses.
package struct OpenAPIDocument {
    package let json: JSON

    package init(_ catalog: Catalog, _ routes: RouteTable, _ identity: ServerIdentity) {
        var schemas = OpenAPISchemas()
        var paths = Self.ownPaths
        var tags = ["gateway"]
        func tag(_ plugin: String) { if !tags.contains(plugin) { tags.append(plugin) } }
        for tool in catalog.tools where tool.restObstacle == nil {
            tag(tool.plugin)
            paths["/tools/\(tool.name)"] = ["get": tool.describing, "post": tool.operation(&schemas)]
        }
        // Templates of one shape are one path, whatever their variables are called.
        var places: [String: RouteTemplate] = [:]
        var operations = OperationIDs()
        for route in routes.routes {
            tag(route.plugin)
            let template = places[route.template.shape, default: route.template]
            places[route.template.shape] = template
            let id = operations.next(for: route)
            var path = paths[template.openAPI] ?? [:]
            path[route.verb.rawValue.lowercased()] = route.operation(id, template.variables, &schemas)
            paths[template.openAPI] = path
        }
        json = [
            "openapi": "3.1.0",
            "info": [
                "title": .string(identity.title), "version": .string(identity.version),
                "description": "The tools and routes of the plugins that are active.",
            ],
            // Wherever the document came from, by whatever name.
            "servers": [["url": "/"]],
            "security": [["token": []]],
            "tags": .array(tags.map { ["name": .string($0)] }),
            "paths": .object(paths),
            "components": [
                "securitySchemes": [
                    "token": [
                        "type": "http", "scheme": "bearer",
                        "description": "The access token, which is in the state directory's file `token`.",
                    ]
                ],
                "responses": ["Problem": Self.problemResponse, "Tool": Self.toolResponse],
                "schemas": .object(schemas.schemas),
            ],
        ]
    }

    /// The document, or 304 to a client that has it.
    func answer(to request: HTTPRequest) -> Answer {
        var answer = Answer.json(json)
        let tag = EntityTag(of: answer.body)
        answer.fields = [(.eTag, tag.text), (.cacheControl, "no-cache"), (.xContentTypeOptions, "nosniff")]
        let known = request.headerFields[values: .ifNoneMatch].contains { tag.isNamed(by: $0) }
        return known ? Answer(status: 304, fields: answer.fields) : answer
    }

    // MARK: - What is always there

    private static let ownPaths: JSONObject = [
        "/health": [
            "get": [
                "operationId": "gateway.health", "tags": ["gateway"], "summary": "Whether the server answers",
                "security": [],
                "responses": ["200": response("It does.", ["type": "object"]), "default": problem],
            ]
        ],
        "/tools": [
            "get": [
                "operationId": "gateway.tools", "tags": ["gateway"], "summary": "List the tools",
                "responses": [
                    "200": response(
                        "All tools; `unavailable` says why one cannot be called over REST.",
                        [
                            "type": "object", "required": ["tools"],
                            "properties": ["tools": ["type": "array", "items": toolSchema]],
                        ]), "default": problem,
                ],
            ]
        ],
    ]

    private static let toolSchema: JSON = [
        "type": "object", "required": ["name", "description", "plugin"],
        "properties": [
            "name": ["type": "string"], "title": ["type": "string"], "description": ["type": "string"],
            "plugin": ["type": "string"], "path": ["type": "string"], "inputSchema": ["type": "object"],
            "unavailable": ["type": "string"],
        ],
    ]

    private static let problemResponse = response(
        "Why not (RFC 9457).", ["$ref": "#/components/schemas/Problem"], type: ProblemDetails.contentType)

    private static let toolResponse = response("The tool, with its schemas.", toolSchema)

    static let tool: JSON = ["$ref": "#/components/responses/Tool"]
    static let problem: JSON = ["$ref": "#/components/responses/Problem"]

    static func response(_ description: String, _ schema: JSON, type: String = MediaType.json.name) -> JSON {
        ["description": .string(description), "content": .object([type: ["schema": schema]])]
    }
}

/// Names for the routes' operations: the method's, and more where it has several routes. A tool's is its own, which has
/// no dot.
private struct OperationIDs {
    private var taken: Set<String> = []

    mutating func next(for route: Route) -> String {
        let verb = "\(route.method).\(route.verb.rawValue.lowercased())"
        var candidates = [route.method, verb].makeIterator()
        var number = 1
        while true {
            number += 1
            let candidate = candidates.next() ?? "\(verb).\(number)"
            if taken.insert(candidate).inserted { return candidate }
        }
    }
}
