import KnapJSON

extension Server {
    /// `subscriptions/listen`: says what will be told, tells it as it happens, and answers only when the server ends.
    /// The client ends it by cancelling.
    func listen(_ request: Request, _ exchange: Exchange) async throws(RPCError) -> JSONObject {
        guard let filter = request.params["notifications"]?.objectValue else {
            throw .parameter("notifications", "is required and must be an object")
        }
        var wanted: ListKinds = []
        var honoured = JSONObject()
        for (name, kind) in Self.filters where filter[name]?.boolValue == true {
            wanted.insert(kind)
            honoured[name] = true
        }
        let meta: JSON = .object([MetaKey.subscriptionID: request.id.json])
        // Before the acknowledgement, so that no change after it is missed.
        let changes = feed.watch()
        await exchange.notify(
            Notification(
                Self.acknowledged, ["_meta": meta, "notifications": .object(honoured)]))
        for await kinds in changes {
            for (kind, method) in ListKinds.notifications where kinds.intersection(wanted).contains(kind) {
                await exchange.notify(Notification(method, ["_meta": meta]))
            }
        }
        if Task.isCancelled { throw RPCError(.cancelled, "The subscription was cancelled.") }
        return ["_meta": meta]
    }

    static let acknowledged = "notifications/subscriptions/acknowledged"

    private static let filters: [(String, ListKinds)] = [
        ("toolsListChanged", .tools), ("promptsListChanged", .prompts), ("resourcesListChanged", .resources),
    ]

    /// The list changes as legacy clients hear of them, unasked, for as long as their stream is open.
    package func pushListChanges(_ notify: @Sendable (Notification) async -> Void) async {
        for await kinds in feed.watch() {
            for (kind, method) in ListKinds.notifications where kinds.contains(kind) {
                await notify(Notification(method))
            }
        }
    }
}
