import KnapJSON

extension Server {
    /// The fixed resources first, then the pages of each plugin that lists its own.
    func listResources(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        await exchange.backend.settled()
        guard exchange.backend.caller.may(.resources) else { return ["resources": []] }
        let catalog = self.catalog.current
        var place = try ResourceCursor(request.params["cursor"])
        var resources = place == .start ? catalog.resources.map(\.listing) : []
        // An empty page would be legal but useless, so the first that has something is answered.
        while resources.isEmpty || place == .start, place.list < catalog.resourceLists.count {
            let page = try await page(of: catalog.resourceLists[place.list], place, exchange)
            resources += page["resources"]?.arrayValue ?? []
            place = place.following(page["next"])
        }
        var result: JSONObject = ["resources": .array(resources)]
        if place.list < catalog.resourceLists.count { result["nextCursor"] = .string(place.text) }
        return result
    }

    private func page(
        of list: ResourceList, _ place: ResourceCursor, _ exchange: Exchange
    ) async throws(RPCError) -> JSON {
        let input: JSON = place.next.map { ["next": .string($0)] } ?? [:]
        do throws(CallFailure) {
            return try await exchange.call(list.method, input).json(from: list.method)
        } catch {
            throw RPCError(calling: list.method, error)
        }
    }

    func listTemplates(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        guard request.params["cursor"] == nil else { throw RPCError(.invalidParams, "Invalid cursor") }
        await exchange.backend.settled()
        let templates = exchange.backend.caller.may(.resources) ? catalog.current.templates : []
        return ["resourceTemplates": .array(templates.map(\.listing))]
    }

    func readResource(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        let uri = try request.string("uri")
        try exchange.backend.caller.demand(.resources)
        if catalog.current.reader(of: uri) == nil { await exchange.backend.settled() }
        let isModern = exchange.envelope.isModern
        guard let reader = catalog.current.reader(of: uri) else { throw Self.noResource(uri, isModern: isModern) }
        let subject: JSONObject = ["uri": .string(uri), "arguments": .object(reader.arguments)]
        let interaction = Interaction(
            method: reader.method, subject: subject, isInteractive: reader.isInteractive, input: .object(subject)
        ) { reply in
            guard case .object(let result) = try reply.json(from: reader.method),
                result["contents"]?.arrayValue?.isEmpty == false
            else { throw Self.noResource(uri, isModern: isModern) }
            return result
        }
        do {
            return try await answer(interaction, to: request, in: exchange)
        } catch let failure as CallFailure where failure.code == .notFound {
            throw Self.noResource(uri, isModern: isModern, failure.message)
        } catch let failure as CallFailure {
            throw RPCError(calling: reader.method, failure)
        } catch let error as RPCError {
            throw error
        } catch {
            throw RPCError(.internalError, "\(error)")
        }
    }

    private static func noResource(_ uri: String, isModern: Bool, _ reason: String = "") -> RPCError {
        RPCError(
            isModern ? .invalidParams : .resourceNotFound,
            reason.isEmpty ? "There is no resource \(uri)." : reason, data: ["uri": .string(uri)])
    }
}

extension Catalog {
    /// The method that reads an address, and what the template's variables stand for in it.
    fileprivate func reader(of uri: String) -> (method: String, arguments: JSONObject, isInteractive: Bool)? {
        if let resource = resources.first(where: { $0.uri == uri }) {
            return (resource.method, JSONObject(), resource.isInteractive)
        }
        for template in templates {
            guard let bindings = template.template.match(uri) else { continue }
            let arguments = JSONObject(bindings.map { ($0.name, .string($0.value)) })
            return (template.method, arguments, template.isInteractive)
        }
        return nil
    }
}

/// A place in the lists of resources: which list, and that list's own word for its next page.
struct ResourceCursor: Equatable {
    var list = 0
    var next: String?
    private var isStart = true

    static let start = ResourceCursor()

    private init() {}

    init(_ cursor: JSON?) throws(RPCError) {
        guard let cursor else { return }
        guard let text = cursor.stringValue, let colon = text.firstIndex(of: ":"), let list = Int(text[..<colon]),
            list >= 0
        else { throw RPCError(.invalidParams, "Invalid cursor") }
        self.list = list
        let rest = text[text.index(after: colon)...]
        next = rest.isEmpty ? nil : String(rest)
        isStart = false
    }

    /// The place after a page that named `next`.
    func following(_ next: JSON?) -> ResourceCursor {
        var place = self
        place.next = next?.stringValue
        if place.next == nil { place.list += 1 }
        place.isStart = false
        return place
    }

    var text: String { "\(list):\(next ?? "")" }
}

extension RPCError {
    /// For the requests whose failures are errors rather than results.
    init(calling method: String, _ failure: CallFailure) {
        let code: Code =
            switch failure.code {
            case .invalidArgument, .notFound, .outOfRange: .invalidParams
            case .cancelled: .cancelled
            default: .internalError
            }
        let message = failure.message.isEmpty ? "\(method) failed" : failure.message
        self.init(code, "\(message) (\(failure.code.rawValue))", data: failure.details)
    }
}
