import Glibc
import Testing

/// The data that tests share and the project does not contain; see KNAP_DATA in the README.
package enum TestData {
    /// The folder, or nil when it is missing: those tests are then skipped, except in CI, where they fail.
    package static let folder: String? = {
        let named = getenv("KNAP_DATA").map { String(cString: $0) } ?? "../shared/data"
        return access(named, R_OK) == 0 ? named : nil
    }()

    package static var isRequired: Bool { getenv("CI").map { String(cString: $0) } == "true" }

    /// Whether tests that need the data run; in CI they do, and fail where it is missing.
    package static var isThere: Bool { folder != nil || isRequired }

    package static func path(_ name: String) throws -> String {
        try #require(folder, "KNAP_DATA does not name a folder with the shared test data") + "/" + name
    }

    package static func vault(_ name: String) throws -> String { try path("../vaults/obsidian-tasks/" + name) }

    package static func read(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"), "\(path) cannot be read")
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
        return bytes
    }

    /// The files below a folder, sorted, relative to it.
    package static func files(in folder: String) throws -> [String] {
        let stream = try #require(opendir(folder), "\(folder) cannot be read")
        defer { closedir(stream) }
        var found: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(".") { continue }
            if entry.pointee.d_type == UInt8(DT_DIR) {
                found += try files(in: folder + "/" + name).map { name + "/" + $0 }
            } else {
                found.append(name)
            }
        }
        return found.sorted()
    }
}
