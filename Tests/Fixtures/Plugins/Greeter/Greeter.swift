import KnapPlugin

public final class Greeter: Plugin {
    public static let name = "greeter", version = "1.0.0"
    public static let methods: [Method<Greeter>] = [
        .call("greeter.hello", hello),
        .bytes("greeter.echo", echo),
        .inline("greeter.empty", empty),
    ]
    public init(host: PluginHost) throws {}

    struct Person: Decodable { var name: String }
    struct Greeting: Encodable { var text: String }

    func hello(_ input: Person, _ call: Call) async throws -> Greeting { Greeting(text: "Hello, \(input.name)") }
    func echo(_ body: [UInt8], _ call: Call) async throws -> Reply { Reply(body) }
    func empty(_ body: UnsafeRawBufferPointer, _ reply: inout InlineReply) {}
}
