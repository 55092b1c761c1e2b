import Testing

@testable import KnapHost

@Suite("A grant to connect")
struct ConnectionGrantTests {
    @Test(
        "covers the names and ports that it says and no others",
        arguments: [
            ("example.org:443", "example.org", 443, true), ("example.org:443", "EXAMPLE.org", 443, true),
            ("example.org:443", "example.org", 80, false), ("example.org:443", "evil-example.org", 443, false),
            ("*.example.org:443", "a.example.org", 443, true), ("*.example.org:443", "example.org", 443, false),
            ("*.example.org:443", "aexample.org", 443, false), ("*:443", "anything", 443, true),
            ("example.org:*", "example.org", 1, true), ("[::1]:80", "::1", 80, true),
        ] as [(String, String, UInt16, Bool)])
    func covers(grant: String, name: String, port: UInt16, expected: Bool) {
        #expect(ConnectionGrant(grant).allows(name, port) == expected)
    }
}
