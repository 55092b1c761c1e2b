import Glibc
import Testing

@testable import KnapHost

@Suite struct StateDirectoryTests {
    @Test func `a new state directory and its parents are private`() throws {
        let place = try Scratch()
        let directory = try StateDirectory(creating: place.path + "/a/b")
        #expect(mode(directory.path) == 0o700)
        #expect(mode(place.path + "/a") == 0o700)
        #expect(mode(directory.plugins) == 0o700)
    }

    @Test func `a directory that was open to others is narrowed`() throws {
        let place = try Scratch()
        chmod(place.path, 0o755)
        _ = try StateDirectory(creating: place.path)
        #expect(mode(place.path) == 0o700)
    }

    @Test func `a file in the way is named`() throws {
        let place = try Scratch()
        place.write("file", "")
        let error = #expect(throws: StateDirectoryError.self) {
            try StateDirectory(creating: place.path + "/file/state")
        }
        #expect(error?.code == .notADirectory)
        #expect(error?.message.contains(place.path + "/file") == true)
    }

    @Test func `the second lock fails and names the process that holds the first`() throws {
        let place = try Scratch()
        let directory = try StateDirectory(creating: place.path)
        #expect(StateLock.holder(of: directory) == nil)
        do {
            let held = try StateLock(directory)
            #expect(StateLock.holder(of: directory) == getpid())
            var refusal: StateDirectoryError?
            do { _ = try StateLock(directory) } catch { refusal = error }
            #expect(refusal?.code == .inUse(pid: getpid()))
            _ = consume held
        }
        #expect(StateLock.holder(of: directory) == nil)
        _ = try StateLock(directory)
    }

    @Test func `a full disk is called a full disk`() throws {
        let error = StateDirectoryError.system(ENOSPC, "write", "/state/lock")
        #expect(error.code == .full)
        #expect(
            error.message
                == "cannot write /state/lock: the disk is full: free some space, or choose another place with --state")
    }

    @Test func `the token is made once, is private, and KNAP_TOKEN wins`() throws {
        let place = try Scratch()
        let directory = try StateDirectory(creating: place.path)
        let made = try AccessToken.obtain(directory) { _ in nil }
        #expect(made.utf8.count == 43)
        #expect(mode(directory.token) == 0o600)
        #expect(try AccessToken.obtain(directory) { _ in nil } == made)
        #expect(try AccessToken.obtain(directory) { $0 == "KNAP_TOKEN" ? "given" : nil } == "given")
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("\u{fb}\u{ff}", "w7vDvw"),
    ])
    func `base64url has no padding`(text: String, expected: String) {
        #expect(AccessToken.base64URL(Array(text.utf8)) == expected)
    }

    @Test func `the default directory follows XDG and tells vaults of one name apart`() {
        let path = StatePath { ["XDG_STATE_HOME": "/x", "HOME": "/h"][$0] }
        let one = path.directory(forVaults: ["/a/Notes"])
        #expect(one.hasPrefix("/x/knap/Notes-"))
        #expect(one.utf8.count == "/x/knap/Notes-".utf8.count + 8)
        #expect(one != path.directory(forVaults: ["/b/Notes"]))
        #expect(StatePath { ["XDG_STATE_HOME": "relative", "HOME": "/h"][$0] }.parent == "/h/.local/state/knap")
    }
}
