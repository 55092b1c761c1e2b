import KnapPlugin

extension Conformance {
    static let resourceReaders: [Method<Conformance>] = [
        .value("read_static_text", readStaticText),
        .value("read_static_binary", readStaticBinary),
        .value("read_watched", readWatched),
        .value("read_template", readTemplate),
        .value("list_resources", listResources),
        .result("read_input_required", readInputRequired),
    ]

    func readStaticText(_ request: JSON, _ call: Call) async throws -> JSON {
        [
            "contents": [
                .contents("test://static-text", "text/plain", text: "This is the content of the static text resource.")
            ]
        ]
    }

    func readStaticBinary(_ request: JSON, _ call: Call) async throws -> JSON {
        ["contents": [["uri": "test://static-binary", "mimeType": "image/png", "blob": .string(Sample.png)]]]
    }

    func readWatched(_ request: JSON, _ call: Call) async throws -> JSON {
        let text = "Watched resource content, changed \(changes.updates) times"
        return ["contents": [.contents(ListChanges.watched, "text/plain", text: text)]]
    }

    func readTemplate(_ request: JSON, _ call: Call) async throws -> JSON {
        let id = request["arguments"]?["id"]?.stringValue ?? ""
        let data: JSON = ["id": .string(id), "templateTest": true, "data": .string("Data for ID: \(id)")]
        let uri = request["uri"]?.stringValue ?? ""
        return ["contents": [.contents(uri, "application/json", text: data.serialized())]]
    }

    /// Two of the template's resources, one on each page; the second may be gone.
    func listResources(_ request: JSON, _ call: Call) async throws -> JSON {
        let id = request["next"]?.stringValue ?? "1"
        let resource: JSON = [
            "uri": .string("test://template/\(id)/data"), "name": .string("template-\(id)"),
            "mimeType": "application/json",
        ]
        var page: JSON = ["resources": [resource]]
        if id == "1", changes.hasSecondResource { page["next"] = "2" }
        return page
    }

    func readInputRequired(_ asked: Asked, _ call: Call) async throws -> JSON {
        guard let answer = asked.answer(to: Self.userName) else { return .asking([Self.userName]) }
        let text = "Written for \(answer.field("name")?.stringValue ?? "nobody")"
        return ["contents": [.contents(asked.uri ?? "", "text/plain", text: text)]]
    }
}
