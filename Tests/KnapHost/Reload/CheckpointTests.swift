import Glibc
import Testing

@testable import KnapHost

@Suite("Copies of state directories")
struct CheckpointTests {
    let scratch: Scratch
    let checkpoints: Checkpoints
    let data: String

    init() throws {
        scratch = try Scratch()
        checkpoints = Checkpoints(state: scratch.path)
        _ = scratch.folder("data")
        data = scratch.folder("data/notes")
    }

    private func text(_ path: String) -> String? { readFile(path).map { String(decoding: $0, as: UTF8.self) } }

    private func fill(_ word: String) throws {
        try write(word, to: data + "/file")
        mkdir(data + "/inner", 0o750)
        try write(word + " inside", to: data + "/inner/file")
    }

    @Test("what the new version changed, added and removed is as it was, in the same directory")
    func restores() throws {
        try fill("old")
        symlink("file", data + "/link")
        chmod(data + "/file", 0o640)
        var before = stat(), after = stat()
        stat(data, &before)
        try checkpoints.take("notes")
        try fill("new")
        try write("x", to: data + "/added")
        unlink(data + "/link")
        try checkpoints.restore("notes")
        #expect(text(data + "/file") == "old")
        #expect(text(data + "/inner/file") == "old inside")
        #expect(text(data + "/link") == "old")
        #expect(access(data + "/added", F_OK) != 0)
        stat(data, &after)
        #expect(after.st_ino == before.st_ino)
        stat(data + "/file", &after)
        #expect(after.st_mode & 0o777 == 0o640)
        // Once more changes nothing.
        try checkpoints.restore("notes")
        #expect(text(data + "/file") == "old")
    }

    @Test("a copy that was begun and not finished is thrown away, a whole one is kept for its plugin")
    func sweeps() throws {
        try fill("old")
        try checkpoints.take("notes")
        mkdir(scratch.path + "/checkpoints/.other.part", 0o700)
        mkdir(scratch.path + "/checkpoints/gone", 0o700)
        try write("x", to: scratch.path + "/checkpoints/gone/file")
        checkpoints.sweep(keeping: ["notes"])
        #expect(access(scratch.path + "/checkpoints/notes/file", F_OK) == 0)
        #expect(access(scratch.path + "/checkpoints/.other.part", F_OK) != 0)
        #expect(access(scratch.path + "/checkpoints/gone", F_OK) != 0)
        checkpoints.discard("notes")
        #expect(access(scratch.path + "/checkpoints/notes", F_OK) != 0)
    }

    @Test("links are copied as links, and what is neither file nor directory is left out")
    func staysInside() throws {
        try write("secret", to: scratch.path + "/secret")
        symlink(scratch.path + "/secret", data + "/link")
        symlink(scratch.path, data + "/all")
        mkfifo(data + "/pipe", 0o600)
        try checkpoints.take("notes")
        let copy = scratch.path + "/checkpoints/notes"
        var status = stat()
        lstat(copy + "/link", &status)
        #expect(status.st_mode & S_IFMT == S_IFLNK)
        #expect(access(copy + "/pipe", F_OK) != 0)
        checkpoints.discard("notes")
        #expect(text(scratch.path + "/secret") == "secret")
    }

    @Test("a directory that is too deep or too large is refused, and nothing of the copy stays")
    func limits() throws {
        var path = data
        for _ in 0..<70 {
            path += "/d"
            mkdir(path, 0o700)
        }
        let error = #expect(throws: StoreError.self) { try checkpoints.take("notes") }
        #expect(error?.message.contains("deep") == true)
        #expect(access(scratch.path + "/checkpoints/.notes.part", F_OK) != 0)
        let large = scratch.folder("large")
        try write(String(repeating: "x", count: 100_000), to: large + "/file")
        let full = #expect(throws: StoreError.self) {
            try DirectoryTree.copy(large, to: scratch.path + "/copy", limit: 50_000)
        }
        #expect(full?.code == .tooLarge)
    }
}
