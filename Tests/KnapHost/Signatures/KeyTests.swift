import Testing

@testable import KnapHost

@Suite("A key")
struct KeyTests {
    /// RFC 8032, section 7.1: secret key, public key, message, signature.
    private static let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ]

    @Test("signs and checks as RFC 8032 says")
    func vectors() throws {
        for (secret, expectedKey, message, expected) in Self.vectors {
            // PKCS #8 of RFC 8410: a fixed beginning and the secret key.
            let encoded = try #require(Hexadecimal.bytes("302e020100300506032b657004220420" + secret))
            let key = try SigningKey(pem: Array(pem("PRIVATE KEY", encoded).utf8), name: "the vector")
            let bytes = try #require(Hexadecimal.bytes(message))
            #expect(Hexadecimal.text(key.publicKey.bytes) == expectedKey)
            let signature = try key.signature(of: bytes)
            #expect(Hexadecimal.text(signature) == expected)
            #expect(key.publicKey.verifies(signature, of: bytes))
            #expect(!key.publicKey.verifies(signature, of: bytes + [0]))
            for index in signature.indices {
                var changed = signature
                changed[index] ^= 1
                #expect(!key.publicKey.verifies(changed, of: bytes))
            }
        }
    }

    private func pem(_ label: String, _ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var text = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let three = bytes[start..<min(start + 3, bytes.count)]
            let value = three.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - three.count))
            for place in 0..<4 {
                text.append(place <= three.count ? alphabet[value >> (18 - 6 * place) & 63] : "=")
            }
        }
        return "-----BEGIN \(label)-----\n\(text)\n-----END \(label)-----\n"
    }

    @Test("is written in PEM and read back, and its fingerprint is the one that openssl shows")
    func pem() throws {
        let scratch = try Scratch()
        let key = try SigningKey()
        #expect(key.pem.hasPrefix("-----BEGIN PRIVATE KEY-----\n"))
        #expect(key.publicKey.pem.hasPrefix("-----BEGIN PUBLIC KEY-----\n"))
        #expect(try SigningKey(pem: Array(key.pem.utf8), name: "it").publicKey == key.publicKey)
        #expect(try PublicKey(pem: Array(key.publicKey.pem.utf8), name: "it") == key.publicKey)
        try scratch.write(key.publicKey.pem, to: "key.pub")
        try Scratch.run([
            "sh", "-c",
            "openssl pkey -pubin -in \(scratch.path)/key.pub -outform DER | sha256sum | cut -d' ' -f1 > \(scratch.path)/sum",
        ])
        #expect(String(decoding: try Scratch.read(scratch.file("sum")), as: UTF8.self) == "\(key.publicKey.fingerprint)\n")
    }

    @Test("that openssl made can be used, and one of another kind or with a password is refused")
    func foreign() throws {
        let scratch = try Scratch()
        let cases = [
            ("ed25519", "genpkey -algorithm ed25519", true), ("ed448", "genpkey -algorithm ed448", false),
            ("rsa", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024", false),
            ("locked", "genpkey -algorithm ed25519 -aes256 -pass pass:secret", false),
        ]
        for (name, command, isUsable) in cases {
            try Scratch.run(["sh", "-c", "openssl \(command) -out \(scratch.path)/\(name) 2>/dev/null"])
            let pem = try Scratch.read(scratch.file(name))
            let key = Result { () throws(KeyError) in try SigningKey(pem: pem, name: name) }
            #expect(((try? key.get()) != nil) == isUsable, "\(name)")
        }
    }

    @Test(
        "is not made of what is not a key",
        arguments: ["", "\n", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", String(repeating: "x", count: 1 << 17)])
    func garbage(text: String) {
        #expect(throws: KeyError.self) { try PublicKey(pem: Array(text.utf8), name: "it") }
        #expect(throws: KeyError.self) { _ = try SigningKey(pem: Array(text.utf8), name: "it") }
    }
}
