import Gateway
import KnapJSON
import Testing

extension Offer {
    /// A route to `test.echo`, as its plugin's manifest has it.
    static func route(
        _ verb: String, _ path: String, plugin: String = "web", isFirstParty: Bool = false, isOwn: Bool = true,
        _ method: JSONObject = [:]
    ) -> Offer {
        var entry: JSONObject = ["name": "test.echo", "mutating": false]
        for member in method { entry[member.name] = member.value }
        return Offer(
            plugin: plugin, isFirstParty: isFirstParty,
            item: ["verb": .string(verb), "path": .string(path), "method": "test.echo"], method: .object(entry),
            isOwn: isOwn)
    }
}

@Suite struct RouteTests {
    @Test(
        arguments: [
            ("/a", "/a", [:]), ("/a", "/a/", nil), ("/a/", "/a/", [:]), ("/a", "/A", nil), ("/a", "/a/b", nil),
            ("/a/{x}", "/a/b", ["x": "b"]), ("/a/{x}", "/a/", nil), ("/a/{x}", "/a/b/c", nil),
            ("/a/{x}", "/a/b%2Fc", ["x": "b/c"]), ("/a/{x}", "/a/%C3%BC+1", ["x": "ü+1"]),
            ("/a/{x}/c/{y}", "/a/b/c/d", ["x": "b", "y": "d"]), ("/a/{x}/c", "/a/b/d", nil),
            ("/a/{+x}", "/a/b/c.md", ["x": "b/c.md"]), ("/a/{+x}", "/a/b/", ["x": "b/"]), ("/a/{+x}", "/a/", nil),
            ("/a/{+x}", "/a", nil), ("/a/{+x}", "/a//b", ["x": "/b"]), ("/a/b", "/a/%62", [:]),
        ] as [(String, String, [String: String]?)])
    func `a template matches whole segments`(template: String, path: String, variables: [String: String]?) throws {
        let bindings = try RouteTemplate(template).match(#require(PathSegments(path)))
        #expect(bindings.map { Dictionary(uniqueKeysWithValues: $0.map { ($0.name, $0.value) }) } == variables)
    }

    @Test(arguments: ["", "a", "*", "/%", "/%1", "/%zz", "/%ff", "/a%C3", "http"])
    func `what is no path of text is none`(path: String) {
        #expect(PathSegments(path) == nil)
    }

    @Test(arguments: [
        "", "a", "/a//b", "/a/{", "/a/{}", "/a/{+}", "/a/{x}{y}", "/a/{x}.md", "/a/{x}/{x}", "/a/{+x}/b", "/a/b c",
        "/a?b",
        "/a/%62", "/a/{x.y}", "/ä", "/" + String(repeating: "a", count: 2000),
    ])
    func `a path that is no template is refused`(path: String) {
        #expect(throws: Unservable.self) { try RouteTemplate(path) }
    }

    @Test(arguments: [
        ("/a/b", "/a/b", true), ("/a/b", "/a/c", false), ("/a/{x}", "/a/b", true), ("/a/{x}/c", "/a/b/{y}", true),
        ("/a/{x}/c", "/a/b/{y}/d", false), ("/a/{+x}", "/a/b/c/d", true), ("/a/{+x}", "/a", false),
        ("/a/{+x}", "/b/{+y}", false), ("/a/{x}", "/a/", false),
    ])
    func `templates overlap where an address could be of both`(a: String, b: String, overlaps: Bool) throws {
        #expect(try RouteTemplate(a).overlaps(RouteTemplate(b)) == overlaps)
        #expect(try RouteTemplate(b).overlaps(RouteTemplate(a)) == overlaps)
    }

    @Test func `the most specific of a plugin's routes has a request`() throws {
        let paths = ["/a/{+z}", "/a/{z}/c", "/a/{b}/{c}", "/a/b/{x}", "/a/b/c"]
        let table = RouteTable(paths.map { .route("GET", $0) })
        #expect(table.problems.isEmpty)
        for (path, expected) in [
            ("/a/b/c", "/a/b/c"), ("/a/b/d", "/a/b/{x}"), ("/a/x/c", "/a/{z}/c"), ("/a/x/y", "/a/{b}/{c}"),
            ("/a/x", "/a/{+z}"), ("/a/x/y/z", "/a/{+z}"),
        ] {
            let found = table.match(try #require(PathSegments(path))).first?.route.template.description
            #expect(found == expected, "\(path)")
        }
    }

    @Test func `a plugin takes nothing from another, and Knap's own come first`() {
        let table = RouteTable([
            .route("GET", "/notes/{x}", plugin: "alien"), .route("POST", "/notes/{x}", plugin: "alien"),
            .route("GET", "/notes/{+path}", plugin: "vault", isFirstParty: true),
            .route("POST", "/notes/new", plugin: "zebra"),
        ])
        #expect(table.routes.map { "\($0.plugin) \($0.verb.rawValue)" } == ["alien POST", "vault GET"])
        #expect(table.problems.map(\.plugin) == ["alien", "zebra"])
        #expect(table.problems.first?.reason.contains("GET /notes/{+path} of vault") == true)
    }

    @Test(arguments: [
        (Offer.route("GET", "/"), "the Gateway's own"), (.route("GET", "/mcp"), "the Gateway's own"),
        (.route("GET", "/tools/mine"), "the Gateway's own"), (.route("GET", "/openapi.json"), "the Gateway's own"),
        (.route("GET", "/health"), "the Gateway's own"), (.route("GET", "/.well-known/x"), "the Gateway's own"),
        (.route("GET", "/{x}"), "fixed part"), (.route("GET", "/{+x}"), "fixed part"), (.route("HEAD", "/a"), "verb"),
        (.route("GET", "/a//b"), "//"), (.route("GET", "/a", isOwn: false), "plugin itself provides"),
        (.route("GET", "/a", ["content_type": "text/plain"]), "no body"),
        (.route("PUT", "/a/{x}", ["content_type": "text/plain"]), "no place"),
        (.route("POST", "/a", ["streams": "both"]), "streams both"),
        (.route("POST", "/a", ["output_content_type": "text"]), "no media type"),
        (
            .route("GET", "/a/{x}", ["input": ["properties": ["y": true], "additionalProperties": false]]),
            "does not know"
        ),
    ])
    func `what cannot be served is left out with a reason`(offer: Offer, reason: String) {
        let table = RouteTable([offer])
        #expect(table.routes.isEmpty)
        #expect(table.problems.count == 1 && table.problems[0].severity == .error)
        #expect(table.problems.first?.reason.contains(reason) == true, "\(table.problems)")
    }

    @Test func `a plugin with very many routes has the first of them`() {
        let table = RouteTable((0..<300).map { .route("GET", "/a/\($0)") } + [.route("GET", "/b", plugin: "other")])
        #expect(table.routes.count == 257 && table.problems.count == 44)
    }

    @Test func `what is served although something is wrong has a warning`() {
        let table = RouteTable([
            .route("GET", "/a", ["mutating": true]), .route("GET", "/b", ["output": ["$ref": "elsewhere.json"]]),
            .route("GET", "/b", [:]),
        ])
        #expect(table.routes.count == 2)
        #expect(table.problems.map(\.severity) == [.warning, .warning, .error])
    }
}

@Suite struct TextArgumentTests {
    private static let schema: JSON = [
        "type": "object",
        "properties": [
            "text": ["type": "string"], "whole": ["type": "integer"], "real": ["type": "number"],
            "flag": ["type": "boolean"], "maybe": ["type": ["integer", "null"]],
            "either": ["type": ["string", "integer"]],
            "list": ["type": "array", "items": ["type": "integer"]], "words": ["type": "array"],
            "object": ["type": "object"], "named": ["$ref": "#/$defs/size"], "choice": ["enum": [1, "all"]],
            "any": true, "circle": ["anyOf": .array(Array(repeating: ["$ref": "#/properties/circle"], count: 50))],
            "branches": ["anyOf": [["type": "boolean"], ["type": "array", "items": ["type": "boolean"]]]],
        ],
        "$defs": ["size": ["type": "integer"]],
    ]

    @Test(
        arguments: [
            ("text", ["5"], "5"), ("text", ["null"], "null"), ("whole", ["5"], 5), ("whole", ["-5"], -5),
            ("whole", ["1e2"], 100),
            ("whole", ["5.5"], "5.5"), ("whole", ["05"], "05"), ("whole", [""], ""), ("whole", ["many"], "many"),
            ("real", ["5.50"], 5.5), ("real", ["1e400"], .number(tooLarge)), ("flag", ["true"], true),
            ("flag", ["1"], "1"),
            ("flag", ["True"], "True"), ("maybe", ["null"], nil), ("maybe", ["7"], 7), ("either", ["7"], 7),
            ("either", ["x"], "x"), ("list", ["1"], [1]), ("list", ["1", "x"], [1, "x"]), ("words", ["1"], ["1"]),
            ("object", [#"{"a": [1]}"#], ["a": [1]]), ("object", ["{"], "{"), ("named", ["3"], 3), ("choice", ["1"], 1),
            ("choice", ["all"], "all"), ("any", ["true"], "true"), ("circle", ["1"], "1"), ("branches", ["true"], true),
            ("branches", ["true", "false"], [true, false]), ("unknown", ["1"], "1"),
            ("text", [#""quoted""#], #""quoted""#),
        ] as [(String, [String], JSON)])
    func `a text becomes the value that its schema asks for`(name: String, texts: [String], value: JSON) throws {
        #expect(try TextArguments(schema: Self.schema).value(of: name, texts) == value)
    }

    private static let tooLarge = (try? JSON.parse(Array("1e400".utf8)).numberValue) ?? JSONNumber(0)

    @Test(arguments: ["text", "whole", "object", "any"])
    func `one value is not two`(name: String) {
        let problem = #expect(throws: ProblemDetails.self) {
            try TextArguments(schema: Self.schema).value(of: name, ["1", "2"])
        }
        #expect(problem?.status == 400 && problem?.detail.contains(name) == true)
    }

    @Test(
        arguments: [
            ("", []), ("a=1", ["a=1"]), ("a", ["a="]), ("a=", ["a="]), ("a=b=c", ["a=b=c"]),
            ("a=1&&b=2&a=3", ["a=1,3", "b=2"]),
            ("a+b=c+d", ["a b=c d"]), ("%C3%BC=%26", ["ü=&"]), ("a=%2B", ["a=+"]),
        ] as [(String, [String])])
    func `a query is read as forms write it`(query: String, values: [String]) throws {
        let read = try QueryParameters(query).values.map { "\($0.name)=\($0.texts.joined(separator: ","))" }
        #expect(read == values)
    }

    @Test(arguments: ["a=%", "a=%f", "%zz=1", "a=%ff"])
    func `a query that is not text is refused`(query: String) {
        #expect(throws: ProblemDetails.self) { try QueryParameters(query) }
    }
}

@Suite struct RESTHeaderTests {
    private static let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    @Test(
        arguments: [
            ([trace], true), ([" \(trace) "], true), ([], false), ([trace, trace], false),
            ([trace.uppercased()], false),
            ([trace + "-more"], false), (["01" + trace.dropFirst(2) + "-more"], true),
            (["ff" + trace.dropFirst(2)], false),
            (["00-00000000000000000000000000000000-00f067aa0ba902b7-01"], false),
            (["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"], false),
            (["00-4bf9-00f067aa0ba902b7-01"], false),
            ([trace + "\0"], false), (["01" + trace.dropFirst(2) + "-" + String(repeating: "x", count: 1000)], false),
        ] as [([String], Bool)])
    func `a trace is taken on where the header is one`(values: [String], isOne: Bool) {
        #expect((TraceParent.valid(values) != nil) == isOne)
    }

    @Test func `a tag is named by itself, weakly, in a list, or by a star`() {
        let tag = EntityTag(of: [1, 2, 3])
        #expect(tag.text == EntityTag(of: [1, 2, 3]).text && tag.text != EntityTag(of: [1, 2]).text)
        for (header, isNamed) in [
            (tag.text, true), ("W/\(tag.text)", true), ("\"x\", \(tag.text)", true), ("*", true), ("\"x\"", false),
            ("", false),
        ] {
            #expect(tag.isNamed(by: header) == isNamed, "\(header)")
        }
    }

    @Test func `each canonical code has its status, and what can be tried again says when`() {
        let statuses: [CallFailure.Code: Int] = [
            .cancelled: 499, .unknown: 500, .invalidArgument: 400, .deadlineExceeded: 504, .notFound: 404,
            .alreadyExists: 409, .permissionDenied: 403, .resourceExhausted: 429, .failedPrecondition: 400,
            .aborted: 409,
            .outOfRange: 400, .unimplemented: 501, .internal: 500, .unavailable: 503, .dataLoss: 500,
            .unauthenticated: 401,
        ]
        for code in CallFailure.Code.allCases {
            let problem = ProblemDetails(CallFailure(code, "why", details: ["a": 1]))
            #expect(problem.status == statuses[code], "\(code)")
            #expect(problem.json["code"]?.stringValue == code.rawValue && problem.json["details"] == ["a": 1])
            #expect(problem.json["title"]?.stringValue != "Failed", "\(code)")
        }
    }
}

@Suite struct RebasedSchemaTests {
    private func rebased(_ schema: JSON) throws -> JSON { try RebasedSchema(schema, at: "#/here", "schema").json }

    @Test(
        arguments: [
            (["type": "object"], ["type": "object"]), (true, true), (["$ref": "#"], ["$ref": "#/here"]),
            (
                ["properties": ["a": ["$ref": "#/$defs/x~1y"]], "$defs": ["x/y": ["type": "string"]]],
                ["properties": ["a": ["$ref": "#/here/$defs/x~1y"]], "$defs": ["x/y": ["type": "string"]]]
            ),
            (
                ["items": ["$ref": "#leaf"], "$defs": ["leaf": ["$anchor": "leaf", "type": "null"]]],
                ["items": ["$ref": "#/here/$defs/leaf"], "$defs": ["leaf": ["type": "null"]]]
            ),
            (
                ["$id": "https://a.example/s", "$dynamicAnchor": "node", "items": ["$dynamicRef": "#node"]],
                ["items": ["$ref": "#/here"]]
            ),
            // What only looks like a reference stays.
            (
                ["properties": ["$ref": ["type": "string"]], "const": ["$ref": "#/x"], "default": ["$ref": "x"]],
                ["properties": ["$ref": ["type": "string"]], "const": ["$ref": "#/x"], "default": ["$ref": "x"]]
            ),
            (
                ["anyOf": [["$ref": "#/$defs/a%20b"]], "$defs": ["a b": true]],
                ["anyOf": [["$ref": "#/here/$defs/a%20b"]], "$defs": ["a b": true]]
            ),
        ] as [(JSON, JSON)])
    func `references lead to the same place in the larger document`(schema: JSON, expected: JSON) throws {
        #expect(try rebased(schema) == expected)
    }

    @Test(
        arguments: [
            ["$ref": "other.json"], ["$ref": "#/$defs/none"], ["$ref": "#none"], ["$ref": "#/%"], ["$ref": 5],
            ["items": [["type": "string"]]], ["properties": ["a": ["$id": "https://a.example"]]], ["properties": []], 5,
            ["$ref": "#/const", "const": "x"],
        ] as [JSON])
    func `a schema that cannot be a part of another document is refused`(schema: JSON) {
        #expect(throws: Unservable.self) { try rebased(schema) }
    }

    @Test func `a schema that never ends is refused`() {
        let deep = (0..<100).reduce(true as JSON) { schema, _ in ["not": schema] }
        #expect(throws: Unservable.self) { try rebased(deep) }
    }
}
