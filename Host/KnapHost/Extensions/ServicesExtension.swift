import CKnap
import KnapCallEngine
import KnapJSON
import KnapPlugin

/// `knap.services/1`: binding through the directory, calling through the engine.
///
/// Calls of a plugin that speaks for others come from outside, so theirs are checked against the method's schema here,
/// once; calls between plugins go straight to the engine.
enum ServicesExtension {
    static func table(for context: InstanceContext) -> UnsafePointer<knap_host_services_t> {
        context.grants.assertsPrincipal ? checked : direct
    }

    // Immutable after this; read by any thread.
    nonisolated(unsafe) private static let direct = permanent(table(call: knap_engine_call))
    nonisolated(unsafe) private static let checked = permanent(table(call: callChecked))

    private typealias Call =
        @convention(c) (
            UnsafePointer<knap_host_t>?, knap_binding_t, UnsafePointer<knap_outgoing_t>?,
            UnsafeMutablePointer<knap_call_t>?
        ) -> knap_status_t

    private static func table(call: @escaping Call) -> knap_host_services_t {
        knap_host_services_t(
            size: size(of: knap_host_services_t.self), reserved: 0,
            bind: { host, method, range, binding in
                guard let host, let binding else { return KNAP_INVALID_ARGUMENT.status }
                let context = InstanceContext.of(host)
                do throws(PluginError) {
                    binding.pointee = try context.services.bind(
                        String(text: method), range: String(text: range), by: context,
                        party: Party(pointer: knap_party_of(host)))
                    return 0
                } catch {
                    context.logger.warning("binding refused", metadata: ["reason": "\(error.message)"])
                    return error.code.rawValue
                }
            },
            unbind: { _, _ in },  // a binding is one of few and is used again for the same method
            call: call,
            describe: { host, service, out in
                guard let host, let out else { return KNAP_INVALID_ARGUMENT.status }
                out.pointee.put(InstanceContext.of(host).services.describe(String(text: service)).serialized())
                return 0
            })
    }

    private static let callChecked: Call = { host, binding, outgoing, call in
        guard let host, let outgoing else { return KNAP_INVALID_ARGUMENT.status }
        return checkedCall(host, InstanceContext.of(host), binding, outgoing, call)
    }

    /// Makes a call of an instance whose calls enter from outside: another process, or another protocol.
    static func checkedCall(
        _ host: UnsafePointer<knap_host_t>, _ context: InstanceContext, _ binding: UInt64,
        _ outgoing: UnsafePointer<knap_outgoing_t>, _ call: UnsafeMutablePointer<knap_call_t>?
    ) -> knap_status_t {
        guard let input = context.input(of: binding) else { return KNAP_PERMISSION_DENIED.status }
        // What is too large is refused by the engine, and not read before.
        guard let schema = input.schema, let caller = outgoing.pointee.caller,
            outgoing.pointee.body.size <= KNAP_BODY_LARGEST
        else { return knap_engine_call(host, binding, outgoing, call) }
        let body = UnsafeRawBufferPointer(
            start: outgoing.pointee.body.data, count: Int(clamping: outgoing.pointee.body.size))
        guard let refusal = schema.refusal(of: body, method: input.method) else {
            return knap_engine_call(host, binding, outgoing, call)
        }
        call?.pointee = 0
        answer(caller, outgoing.pointee.context, with: refusal)
        return 0
    }

    private static func answer(
        _ caller: UnsafePointer<knap_caller_t>, _ context: UnsafeMutableRawPointer?, with error: PluginError
    ) {
        var details: [UInt8] = []
        error.details?.write(into: &details)
        var message = error.message
        message.withUTF8 { text in
            details.withUnsafeBufferPointer { body in
                var result = knap_result_t()
                result.size = size(of: knap_result_t.self)
                result.status = error.code.rawValue
                result.body = knap_bytes_t(data: body.baseAddress, size: UInt64(body.count))
                text.withMemoryRebound(to: CChar.self) {
                    result.message = knap_text_t(data: $0.baseAddress, size: UInt64($0.count))
                }
                caller.pointee.complete(context, 0, &result)
            }
        }
    }
}
