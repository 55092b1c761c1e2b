import KnapJSON

/// What a request says of itself besides its parameters, in whichever era it speaks.
package struct Envelope: Sendable {
    package var revision: Revision
    package var client: ClientIdentity
    /// Given back with every progress notification; nil where the client wants none.
    package var progressToken: JSON?
    /// Log messages of at least this level go to the client; nil for none at all.
    package var logLevel: LogLevel?
    /// W3C traceparent.
    package var trace: String?

    package init(
        revision: Revision, client: ClientIdentity = ClientIdentity(), progressToken: JSON? = nil,
        logLevel: LogLevel? = nil, trace: String? = nil
    ) {
        self.revision = revision
        self.client = client
        self.progressToken = progressToken
        self.logLevel = logLevel
        self.trace = trace
    }

    package var isModern: Bool { revision.isModern }
}

extension Envelope {
    /// Whether a request is of the stateless era: it carries its version, or is one that only that era has.
    ///
    /// `initialize` without a version in `_meta` is always legacy, because clients send it after a good
    /// `server/discover` and would lose the server if it were refused.
    package static func isModern(_ request: Request) -> Bool {
        if request.meta[MetaKey.protocolVersion] != nil { return true }
        return RequestMethod(rawValue: request.method)?.isLegacy == false
    }

    /// The envelope of a legacy request: what it does not say itself, its session knows.
    ///
    /// - Parameter header: The revision that an HTTP header names.
    package static func legacy(_ request: Request, header: Revision? = nil, session: Session?) -> Envelope {
        let meta = request.meta
        let known = session?.facts
        return Envelope(
            revision: header ?? known?.revision ?? .assumedWithoutHeader, client: known?.client ?? ClientIdentity(),
            progressToken: progressToken(meta), logLevel: known?.logLevel,
            trace: meta[MetaKey.traceparent]?.stringValue)
    }

    /// Checks and reads the envelope of a modern request, in the order in which the official SDK checks: envelope,
    /// headers, version, method. `headers` is nil where there are none, which is on stdio.
    package static func modern(_ request: Request, headers: RoutingHeaders? = nil) throws(RPCError) -> Envelope {
        let meta = request.meta
        guard let version = meta[MetaKey.protocolVersion]?.stringValue else {
            throw .parameter("_meta[\"\(MetaKey.protocolVersion)\"]", "is required and must be a string")
        }
        guard let capabilities = meta[MetaKey.clientCapabilities]?.objectValue else {
            throw .parameter("_meta[\"\(MetaKey.clientCapabilities)\"]", "is required and must be an object")
        }
        if let headers { try headers.check(against: request, version: version) }
        guard version == Revision.modern.rawValue else { throw .unsupportedVersion(version) }
        guard RequestMethod(rawValue: request.method)?.isModern == true else { throw .methodNotFound(request.method) }
        let client = ClientIdentity(capabilities: ClientCapabilities(capabilities), info: meta[MetaKey.clientInfo])
        return Envelope(
            revision: .modern,
            client: request.method == RequestMethod.listen.rawValue ? client.kept : client,
            progressToken: progressToken(meta),
            logLevel: meta[MetaKey.logLevel]?.stringValue.flatMap(LogLevel.init(rawValue:)),
            trace: meta[MetaKey.traceparent]?.stringValue)
    }

    /// A token is a string or an integer, as an id is.
    private static func progressToken(_ meta: JSONObject) -> JSON? { RequestID(meta[MetaKey.progressToken])?.json }
}

extension Request {
    package var meta: JSONObject { params["_meta"]?.objectValue ?? JSONObject() }

    /// The request as it is held while it is answered. A subscription may last for days, so only what it needs is kept of it.
    package func lasting(_ envelope: Envelope) -> Request {
        guard method == RequestMethod.listen.rawValue else { return self }
        var lasting = Request(id: id, method: method)
        // What is not an object is refused later, for what it is.
        let filter = params["notifications"]
        let names = ["toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds"]
        let known = filter?.objectValue.map { filter in JSONObject(names.compactMap { name in filter[name].map { (name, $0) } }) }
        lasting.params["notifications"] = known.map(JSON.object) ?? filter.map { _ in .null }
        lasting.params["_meta"] = .object([
            MetaKey.protocolVersion: .string(envelope.revision.rawValue),
            MetaKey.clientCapabilities: .object(envelope.client.capabilities.declared),
        ])
        return lasting
    }

    /// A string parameter that has to be there.
    package func string(_ name: String) throws(RPCError) -> String {
        guard let value = params[name]?.stringValue else { throw .parameter(name, "is required and must be a string") }
        return value
    }
}
