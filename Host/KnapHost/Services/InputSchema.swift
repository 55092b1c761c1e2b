import KnapJSON
import KnapPlugin
import Synchronization

/// What whoever is bound to a method may send now: it changes with who serves the method.
final class MethodInput: Sendable {
    let method: String
    private let current = Mutex<InputSchema?>(nil)

    init(method: String) { self.method = method }

    /// Nil: any body goes.
    var schema: InputSchema? { current.withLock { $0 } }

    func change(to schema: InputSchema?) { current.withLock { $0 = schema } }
}

/// The schema of a method's input, compiled once, and how a body that does not fit it is refused.
final class InputSchema: Sendable {
    private let schema: Schema

    /// Throws when the manifest's schema is not one.
    init(_ document: JSON) throws(SchemaError) { schema = try Schema.compile(document) }

    /// Nil when the body fits; else an INVALID_ARGUMENT that says which argument is wrong and what is allowed.
    func refusal(of body: UnsafeRawBufferPointer, method: String) -> PluginError? {
        let value: JSON
        do {
            value = body.isEmpty ? .object(JSONObject()) : try JSON.parse(body)
        } catch {
            return PluginError(code: .invalidArgument, message: "The input of \(method) is not JSON: \(error)")
        }
        if schema.isValid(value) { return nil }
        let violations = schema.validate(value)
        let shown = violations.prefix(3).map { $0.message }.joined(separator: "; ")
        let more = violations.count > 3 ? "; and \(violations.count - 3) more" : ""
        return PluginError(
            code: .invalidArgument, message: "\(method): \(shown)\(more)",
            details: ["violations": .array(violations.prefix(20).map { .string($0.message) })])
    }
}
