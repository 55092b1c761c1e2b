import KnapJSON

extension Server {
    /// `subscriptions/listen`: says what will be told, tells it as it happens, and answers only when the server ends.
    /// The client ends it by cancelling.
    func listen(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        let filter = try await permitted(SubscriptionFilter(request, exchange, tasks), exchange)
        let meta: JSON = .object([MetaKey.subscriptionID: request.id.json])
        // Before the acknowledgement, so that no change after it is missed.
        let changes = catalog.watch(since: exchange.known) { filter.subjects.contains($0) }
        await exchange.send(
            .notification(Notification(Self.acknowledged, ["_meta": meta, "notifications": .object(filter.honoured)])))
        // A task may have ended before it was listened for.
        changes.tell(Changes(subjects: filter.subjects.filter(\.isTask)))
        while let change = await changes.next() {
            let change = Changes(lists: change.lists.intersection(filter.lists), subjects: change.subjects)
            for var notification in await notifications(of: change, for: exchange.backend.caller) {
                notification.params["_meta"] = meta
                await exchange.send(.notification(notification))
            }
        }
        if Task.isCancelled { throw RPCError(.cancelled, "The subscription was cancelled.") }
        return ["_meta": meta]
    }

    /// What a subscription that the server ends is answered with.
    func endOfSubscription(_ request: Request, _ exchange: Exchange) -> Response {
        let result: JSONObject = ["_meta": .object([MetaKey.subscriptionID: request.id.json])]
        return Response(id: request.id, .success(exchange.envelope.shape(result, by: identity)))
    }

    static let acknowledged = "notifications/subscriptions/acknowledged"

    /// What a client of the handshake era hears of: the lists unasked, and what its session subscribed to.
    ///
    /// - Parameter known: The lists as the client knows them from another generation.
    package func watch(for session: Session?, since known: ListDigests? = nil) -> CatalogWatch {
        catalog.watch(since: known) { subject in
            if case .resource(let uri) = subject { session?.isSubscribed(to: uri) ?? false } else { false }
        }
    }

    /// Sends what a watch tells until it ends or the task is cancelled.
    package func push(_ changes: CatalogWatch, _ send: @Sendable (Notification) async -> Void) async {
        while let change = await changes.next() {
            for notification in await notifications(of: change, for: nil) { await send(notification) }
        }
    }

    /// In a fixed order: the lists, then the subjects by their names.
    ///
    /// - Parameter caller: Whose tasks are told of; nil for nobody's.
    private func notifications(of change: Changes, for caller: Caller?) async -> [Notification] {
        var notifications = ListKinds.notifications.filter { change.lists.contains($0.kind) }
            .map { Notification($0.method) }
        for subject in change.subjects.sorted(by: { $0.name < $1.name }) {
            switch subject {
            case .resource(let uri):
                notifications.append(Notification("notifications/resources/updated", ["uri": .string(uri)]))
            case .task(let id):
                guard let caller, let record = await task(id, of: caller) else { continue }
                notifications.append(Notification("notifications/tasks", record.detailed))
            }
        }
        return notifications
    }

    /// What the caller may hear of what it wants to.
    private func permitted(
        _ filter: SubscriptionFilter, _ exchange: Exchange
    ) async throws(RPCError) -> SubscriptionFilter {
        guard filter.hasResources else { return filter }
        try exchange.backend.caller.demand(.resources)
        await exchange.backend.settled()
        var allowed: [String] = []
        for uri in filter.resources where try await maySubscribe(to: uri, exchange) { allowed.append(uri) }
        var filter = filter
        filter.limit(to: allowed)
        return filter
    }

    /// Whether the plugins that tell of resources let the caller hear of one.
    private func maySubscribe(to uri: String, _ exchange: Exchange) async throws(RPCError) -> Bool {
        for check in catalog.current.subscriptionChecks {
            do throws(CallFailure) {
                let answer = try await exchange.backend.call(BackendCall(check, ["uri": .string(uri)])) { _ in }.json(from: check)
                if answer["allowed"] == false { return false }
            } catch {
                throw RPCError(calling: check, error)
            }
        }
        return true
    }

    func subscribe(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        let uri = try request.string("uri")
        try exchange.backend.caller.demand(.resources)
        guard let session = exchange.session else {
            throw RPCError(
                .invalidRequest, "Subscriptions belong to a session: send the Mcp-Session-Id that initialize answered.")
        }
        await exchange.backend.settled()
        guard try await maySubscribe(to: uri, exchange) else {
            throw RPCError(.resourceNotFound, "There is no resource \(uri).", data: ["uri": .string(uri)])
        }
        try session.subscribe(to: uri)
        return [:]
    }

    func unsubscribe(_ request: Request, _ exchange: Exchange) throws(RPCError) -> JSONObject {
        exchange.session?.unsubscribe(from: try request.string("uri"))
        return [:]
    }
}

/// What a client of the stateless era wants to hear of.
private struct SubscriptionFilter: Sendable {
    var lists: ListKinds = []
    var subjects: Set<Subject> = []
    private(set) var resources: [String] = []
    /// What of the filter will be told, in the filter's own form.
    var honoured = JSONObject()

    private static let lists: [(String, ListKinds)] = [
        ("toolsListChanged", .tools), ("promptsListChanged", .prompts), ("resourcesListChanged", .resources),
    ]

    init(_ request: Request, _ exchange: Exchange, _ tasks: TaskStore) async throws(RPCError) {
        guard let filter = request.params["notifications"]?.objectValue else {
            throw .parameter("notifications", "is required and must be an object")
        }
        for (name, kind) in Self.lists where filter[name]?.boolValue == true {
            lists.insert(kind)
            honoured[name] = true
        }
        if let uris = try Self.texts("resourceSubscriptions", filter) {
            resources = uris
            subjects.formUnion(uris.map(Subject.resource))
            honoured["resourceSubscriptions"] = .array(uris.map(JSON.string))
        }
        if let ids = try Self.texts("taskIds", filter) {
            try exchange.envelope.client.capabilities.demandTasks()
            var known: [String] = []
            for id in ids where await tasks.find(id, of: exchange.backend.principal) != nil { known.append(id) }
            subjects.formUnion(known.map(Subject.task))
            honoured["taskIds"] = .array(known.map(JSON.string))
        }
    }

    /// Leaves only some of the resources.
    mutating func limit(to allowed: [String]) {
        for uri in Set(resources).subtracting(allowed) { subjects.remove(.resource(uri)) }
        honoured["resourceSubscriptions"] = .array(allowed.map(JSON.string))
        resources = allowed
    }

    var hasResources: Bool { honoured["resourceSubscriptions"] != nil }

    private static func texts(_ name: String, _ filter: JSONObject) throws(RPCError) -> [String]? {
        guard let values = filter[name] else { return nil }
        guard let texts = values.arrayValue?.map(\.stringValue), !texts.contains(nil) else {
            throw .parameter(name, "must be an array of strings")
        }
        guard texts.count <= Session.maximumSubscriptions else {
            throw .parameter(name, "may have at most \(Session.maximumSubscriptions) elements")
        }
        let bytes = texts.reduce(0) { $0 + ($1?.utf8.count ?? 0) }
        guard bytes <= Session.maximumSubscriptionBytes else {
            throw .parameter(name, "may have at most \(Session.maximumSubscriptionBytes) bytes together")
        }
        return texts.compactMap(\.self)
    }
}

extension Subject {
    fileprivate var isTask: Bool { if case .task = self { true } else { false } }

    fileprivate var name: String {
        switch self {
        case .resource(let uri): uri
        case .task(let id): id
        }
    }
}
