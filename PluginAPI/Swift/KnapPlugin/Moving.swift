import KnapJSON

extension PluginError {
    /// Ends a long stream because the plugin is being replaced: the caller opens it anew, from `resume` on.
    ///
    /// `resume` is the plugin's own: enough for its next generation to go on where this one stopped.
    public static func moved(resume: JSON? = nil) -> PluginError {
        var details: JSONObject = ["reason": "moved"]
        details["resume"] = resume
        return PluginError(code: .unavailable, message: "The plugin is being replaced; open the stream again.", details: .object(details))
    }

    /// The stream can be opened anew at the plugin's next generation.
    public var isMoved: Bool { code == .unavailable && details?["reason"] == "moved" }

    /// Where to go on, as the plugin said.
    public var resume: JSON? { details?["resume"] }
}

extension Binding {
    /// The items of a stream that goes on when the plugin behind it is replaced.
    ///
    /// `request` makes the request: the first time with nil, and each time that the plugin ended the stream with
    /// ``PluginError/moved(resume:)`` with what that said. Only a method that says where to go on is opened again: without
    /// that its items could be lost or come twice, so the error is thrown. So are all others.
    public func items(
        parent: Call?, deadline: Deadline? = nil, window: Int = 16, request: @escaping @Sendable (_ resume: JSON?) throws -> [UInt8]
    ) -> MovingItems {
        MovingItems { [self] resume in
            try await open(try request(resume), parent: parent, deadline: deadline, window: window)
        }
    }
}

/// Items of one stream after the other, until one ends by itself.
public struct MovingItems: AsyncSequence, Sendable {
    let open: @Sendable (_ resume: JSON?) async throws -> OutgoingCall

    public struct AsyncIterator: AsyncIteratorProtocol {
        let open: @Sendable (_ resume: JSON?) async throws -> OutgoingCall
        private var items: Items.AsyncIterator?
        private var call: OutgoingCall?

        init(open: @escaping @Sendable (_ resume: JSON?) async throws -> OutgoingCall) { self.open = open }

        public mutating func next() async throws -> Item? {
            var resume: JSON?
            while true {
                if items == nil {
                    let call = try await open(resume)
                    call.halfClose()
                    self.call = call
                    items = call.items.makeAsyncIterator()
                }
                do throws(PluginError) {
                    if let item = try await items?.next() { return item }
                    _ = try await call?.result()
                    return nil
                } catch {
                    guard error.isMoved, let place = error.resume else { throw error }
                    resume = place
                    items = nil
                }
            }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(open: open) }
}
