import KnapJSON

/// The signatures of one plugin: what the section `.knap.sig` holds.
///
///     {"knap_signatures":1,"signatures":[{"key":"<32 bytes, hex>","signature":"<64 bytes, hex>"}]}
///
/// There is one way to write it, and any other is refused, so that not even a space in it can be changed. Several keys
/// may sign one plugin together: that is how a signer hands over to another key (see `SignaturePolicy.pinned`). Each of them
/// signs that these keys sign, or a stranger could put his signature beside another's and inherit its trust.
package struct SignatureBlock: Sendable, Hashable {
    package struct Entry: Sendable, Hashable {
        package let key: PublicKey
        let signature: [UInt8]
    }

    package private(set) var entries: [Entry]

    static let maximumEntries = 8
    /// More than eight signatures need.
    static let maximumSize: UInt64 = 4096

    init(_ entries: [Entry]) { self.entries = entries }

    /// Nil when this is not how a block is written.
    init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.maximumSize, let json = try? JSON.parse(bytes),
            let listed = json["signatures"]?.arrayValue, (1...Self.maximumEntries).contains(listed.count)
        else { return nil }
        entries = listed.compactMap(Entry.init)
        guard self.bytes == bytes, Set(entries.map(\.key)).count == entries.count else { return nil }
    }

    var bytes: [UInt8] {
        let json: JSON = ["knap_signatures": 1, "signatures": .array(entries.map(\.json))]
        return Array(json.serialized().utf8)
    }

    /// What each of the keys signs: which plugin in which version has which content, and who vouches for it. The first line
    /// keeps a signature made for anything else from meaning this.
    static func message(name: String, version: Version, digest: Digest, keys: [PublicKey]) -> [UInt8] {
        let keys = keys.map { " \($0.fingerprint)" }.joined()
        return Array("knap plugin signature 1\nname \(name)\nversion \(version)\ndigest \(digest)\nkeys\(keys)\n".utf8)
    }
}

extension SignatureBlock.Entry {
    fileprivate init?(_ json: JSON) {
        guard let key = json["key"]?.stringValue.flatMap(Hexadecimal.bytes).flatMap(PublicKey.init),
            let signature = json["signature"]?.stringValue.flatMap(Hexadecimal.bytes),
            signature.count == PublicKey.signatureSize
        else { return nil }
        self.init(key: key, signature: signature)
    }

    fileprivate var json: JSON {
        ["key": .string(Hexadecimal.text(key.bytes)), "signature": .string(Hexadecimal.text(signature))]
    }
}
