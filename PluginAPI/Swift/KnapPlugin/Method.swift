import CKnap
import KnapJSON

/// One method of a plugin: its name as in the manifest, "service.method", and what serves it.
///
/// Of the input, `[UInt8]` takes the body as it is, `JSON` as it parses, and every other `Decodable` type as the JSON
/// that it decodes from; what does not decode is INVALID_ARGUMENT with the place in the input. The output is encoded
/// likewise; a ``Reply`` goes out as it is, and `Void` as an empty body.
///
/// All but `.inline` and `.blocking` are served in a task of their own and may suspend as long as they like.
public struct Method<P: Plugin>: Sendable {
    public let name: String
    /// Serves a request and returns at once. Called with the request borrowed from the host.
    @usableFromInline let serve: Serve

    @usableFromInline typealias Serve = @Sendable (Instance, UnsafePointer<knap_request_t>) -> Void

    @inlinable @inline(__always)
    init(name: String, serve: @escaping Serve) {
        self.name = name
        self.serve = serve
    }
}

/// What a method takes. Every decodable type is one, unless its conformance is bound to an actor.
public typealias Input = Decodable & SendableMetatype
/// What a method returns. Every encodable type is one, unless its conformance is bound to an actor.
public typealias Output = Encodable & SendableMetatype

// MARK: - One answer

extension Method {
    /// A method from a value to a value.
    public static func call<In: Input, Out: Output>(
        _ name: String, _ method: @escaping @Sendable (P) -> (In, Call) async throws -> Out
    ) -> Method {
        unary(name) { plugin, body, call in
            try Reply(Body.encode(await method(plugin)(Body.input(body), call)))
        }
    }

    /// A method from a value to bytes with a content type of their own.
    public static func call<In: Input>(
        _ name: String, _ method: @escaping @Sendable (P) -> (In, Call) async throws -> Reply
    ) -> Method {
        unary(name) { plugin, body, call in try await method(plugin)(Body.input(body), call) }
    }

    /// A method from a value to nothing.
    public static func call<In: Input>(
        _ name: String, _ method: @escaping @Sendable (P) -> (In, Call) async throws -> Void
    ) -> Method {
        unary(name) { plugin, body, call in
            try await method(plugin)(Body.input(body), call)
            return Reply()
        }
    }

    /// A method from bytes to bytes.
    public static func bytes(
        _ name: String, _ method: @escaping @Sendable (P) -> ([UInt8], Call) async throws -> Reply
    ) -> Method {
        unary(name) { plugin, body, call in try await method(plugin)(body, call) }
    }

    private static func unary(
        _ name: String, _ operation: @escaping @Sendable (P, [UInt8], Call) async throws -> Reply
    ) -> Method {
        Method(name: name) { instance, request in
            let plugin = instance.plugin(as: P.self)
            let body = [UInt8](request.pointee.body)
            let call = Call(request.pointee.call, link: instance.link)
            call.serve { try await operation(plugin, body, call) }
        }
    }
}

// MARK: - On a blocking thread

extension Method {
    /// A method that may hold its thread, for files and databases. Its manifest says `"blocking": true`, so the host
    /// calls it on a thread kept for that.
    public static func blocking<In: Input, Out: Output>(
        _ name: String, _ method: @escaping @Sendable (P) -> (In, Call) throws -> Out
    ) -> Method {
        Method(name: name) { instance, request in
            let plugin = instance.plugin(as: P.self)
            let body = [UInt8](request.pointee.body)
            let call = Call(request.pointee.call, link: instance.link)
            call.serveHere { try Reply(Body.encode(method(plugin)(Body.input(body), call))) }
        }
    }
}

// MARK: - Streams

extension Method {
    /// A method during which both sides send items. The caller may be `window` items ahead of the method.
    public static func stream<In: Input, Out: Output>(
        _ name: String, window: Int = 16, _ method: @escaping @Sendable (P) -> (In, DuplexCall) async throws -> Out
    ) -> Method {
        duplex(name, window) { plugin, body, call in
            try Reply(Body.encode(await method(plugin)(Body.input(body), call)))
        }
    }

    /// A method during which both sides send items, ending with bytes that have a content type of their own.
    public static func stream<In: Input>(
        _ name: String, window: Int = 16, _ method: @escaping @Sendable (P) -> (In, DuplexCall) async throws -> Reply
    ) -> Method {
        duplex(name, window) { plugin, body, call in try await method(plugin)(Body.input(body), call) }
    }

    /// A method during which both sides send items, ending with nothing.
    public static func stream<In: Input>(
        _ name: String, window: Int = 16, _ method: @escaping @Sendable (P) -> (In, DuplexCall) async throws -> Void
    ) -> Method {
        duplex(name, window) { plugin, body, call in
            try await method(plugin)(Body.input(body), call)
            return Reply()
        }
    }

    private static func duplex(
        _ name: String, _ window: Int, _ operation: @escaping @Sendable (P, [UInt8], DuplexCall) async throws -> Reply
    ) -> Method {
        Method(name: name) { instance, request in
            let plugin = instance.plugin(as: P.self)
            let body = [UInt8](request.pointee.body)
            let call = DuplexCall(request.pointee.call, link: instance.link, window: window)
            call.serve {
                call.open()
                return try await operation(plugin, body, call)
            }
        }
    }
}

// MARK: - Inline

extension Method {
    /// A method that answers before it returns, on the caller's thread, within a millisecond: no task, no copy, no
    /// allocation.
    ///
    /// The input is borrowed until the method returns. Inlined into the plugin, where the compiler sees which method it
    /// is and calls it directly; a closure over an unknown one would allocate.
    @inlinable @inline(__always)
    public static func inline(
        _ name: String, _ method: @escaping @Sendable (P) -> (UnsafeRawBufferPointer, inout InlineReply) -> Void
    ) -> Method {
        Method(name: name) { instance, request in
            instance.reference._withUnsafeGuaranteedRef { object in
                let plugin = unsafeDowncast(object, to: P.self)  // An instance serves the methods of its own type.
                let body = request.pointee.body
                var reply = InlineReply(calls: instance.calls, host: instance.host, call: request.pointee.call)
                method(plugin)(UnsafeRawBufferPointer(start: body.data, count: Int(body.size)), &reply)
                reply.finish()
            }
        }
    }
}

extension Body {
    /// The input of a method.
    static func input<T: Decodable>(_ body: [UInt8]) throws(PluginError) -> T {
        try decode(T.self, from: body, of: "The input", code: .invalidArgument)
    }
}
