import Glibc
import KnapJSON

/// Digests of files that were hashed before, by what `stat` says of them, so that a warm start hashes nothing.
struct DigestCache {
    private var digests: [FileStamp: Digest] = [:]
    private var used: Set<FileStamp> = []
    private(set) var isChanged = false

    mutating func digest(for stamp: FileStamp) -> Digest? {
        guard let digest = digests[stamp] else { return nil }
        used.insert(stamp)
        return digest
    }

    mutating func remember(_ digest: Digest, for stamp: FileStamp) {
        digests[stamp] = digest
        used.insert(stamp)
        isChanged = true
    }

    /// A cache that cannot be read is an empty one: it costs time, not correctness.
    init(reading path: String) {
        guard let file = try? StoredFile(reading: path), let bytes = try? file.content(limit: 64 << 20),
            let json = try? JSON.parse(bytes), json["format"] == 1, let entries = json["files"]?.arrayValue
        else { return }
        for entry in entries {
            guard let values = entry.arrayValue, values.count == 6,
                let digest = values[5].stringValue.flatMap(Digest.init)
            else { continue }
            let numbers = values.prefix(5).compactMap { $0.numberValue.flatMap { Int64($0.text) } }
            if let stamp = FileStamp(numbers) { digests[stamp] = digest }
        }
    }

    /// Keeps what this run used: entries of files long gone do not pile up.
    mutating func write(to path: String) throws(StoreError) {
        let entries = used.sorted { ($0.device, $0.inode) < ($1.device, $1.inode) }.compactMap { stamp in
            digests[stamp].map { JSON.array(stamp.numbers.map { .number(JSONNumber($0)) } + [.string($0.description)]) }
        }
        let json: JSON = ["format": 1, "files": .array(entries)]
        let bytes = Array(json.serialized().utf8)
        let target = try StoredFileReplacement(path, mode: 0o600, step: "index")
        try target.file.write(bytes)
        try target.commit()
        isChanged = false
    }
}

extension FileStamp {
    fileprivate var numbers: [Int64] {
        [Int64(bitPattern: device), Int64(bitPattern: inode), Int64(size), modified, changed]
    }

    fileprivate init?(_ numbers: [Int64]) {
        guard numbers.count == 5 else { return nil }
        device = UInt64(bitPattern: numbers[0])
        inode = UInt64(bitPattern: numbers[1])
        size = Int(numbers[2])
        modified = numbers[3]
        changed = numbers[4]
    }
}
