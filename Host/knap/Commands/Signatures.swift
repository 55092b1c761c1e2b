import ArgumentParser
import Glibc
import KnapHost
import KnapJSON

extension Plugins {
    /// `knap plugins keygen`.
    struct Keygen: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key to sign plugins with.",
            discussion: """
                Writes the private key (Ed25519, PEM, PKCS #8) to FILE, which only you can read, and the public key to FILE.pub, \
                which those who run your plugins give to `knap plugins trust add`. Keep FILE safe: who has it can sign as you.
                """)
        @Argument(help: "The private key's file; it must not exist.", completion: .file()) var file: String
        @Flag(help: "Print JSON: results on stdout, errors on stderr.") var json = false

        func run() throws {
            try reporting(json) {
                let key = try SigningKey()
                try KeyFile.create(file, key.pem, mode: 0o600)
                do { try KeyFile.create(file + ".pub", key.publicKey.pem, mode: 0o644) } catch {
                    unlink(file)
                    throw error
                }
                let fingerprint = "\(key.publicKey.fingerprint)"
                let result: JSON = [
                    "private": .string(file), "public": .string(file + ".pub"), "fingerprint": .string(fingerprint),
                ]
                Output.result(result, asJSON: json) { _ in
                    "private key  \(file)\npublic key   \(file).pub\nfingerprint  \(fingerprint)"
                }
            }
        }
    }

    /// `knap plugins sign`.
    struct Sign: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sign plugins, each with its manifest.",
            discussion: """
                The signature is added to the library itself (section .knap.sig), in place of one that is there; it covers the \
                manifest too, also one beside the library. Sign last, after strip and objcopy. To hand over to another key, sign \
                one version with both: --key OLD --key NEW.
                """)
        @Argument(help: "Libraries.", completion: .file(extensions: ["so", "knap"])) var files: [String]
        @Option(help: ArgumentHelp("A private key in PEM (Ed25519); may be repeated.", valueName: "file"), completion: .file())
        var key: [String]
        @Flag(help: "Print JSON: results on stdout, errors on stderr.") var json = false

        func run() throws {
            try reporting(json) {
                let keys = try key.map { try SigningKey(pem: KeyFile.read($0), name: $0) }
                for file in files {
                    let signed = try Signing.sign(file, with: keys)
                    var result = signed.summary
                    result["signers"] = .array(keys.map { .string("\($0.publicKey.fingerprint)") })
                    Output.result(.object(result), asJSON: json) { _ in
                        let names = keys.map { "\($0.publicKey.fingerprint)" }.joined(separator: " and ")
                        return "\(file): \(signed.manifest.name) \(signed.manifest.version), signed by \(names)"
                    }
                }
            }
        }
    }

    /// `knap plugins verify`.
    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say who signed plugins, and whether that can be trusted.",
            discussion: """
                Against the keys that the running host trusts, or those given with --key. Exits with 0 when a trusted key signed \
                every file, 77 when one is not signed or by somebody else, 65 when a signature does not fit: it was changed.
                """)
        @Argument(help: "Libraries.", completion: .file(extensions: ["so", "knap"])) var files: [String]
        @Option(
            help: ArgumentHelp("Trust this public key (PEM) and no other; may be repeated.", valueName: "file"),
            completion: .file())
        var key: [String] = []
        @OptionGroup var host: HostOptions

        func run() throws {
            let trusted = try trustedKeys()
            var status = ExitStatus.ok
            for file in files {
                let (result, code) = check(file, trusted)
                Output.result(.object(result), asJSON: host.json) { _ in
                    let plugin = result["name"].map { " \($0.stringValue ?? "") \(result["version"]?.stringValue ?? ""):" } ?? ""
                    return "\(file):\(plugin) \(result["message"]?.stringValue ?? "")"
                }
                if status != ExitStatus.data, code != ExitStatus.ok { status = code }
            }
            if status != ExitStatus.ok { throw ExitCode(status) }
        }

        private func check(_ file: String, _ trusted: [PublicKey: String]) -> (JSONObject, Int32) {
            let library: InspectedLibrary
            let signers: [PublicKey]
            var result: JSONObject = ["file": .string(file)]
            do throws(StoreError) {
                library = try InspectedLibrary(file)
                signers = try library.signers()
            } catch {
                result["outcome"] = .string(error.code == .badSignature ? "invalid" : "broken")
                result["message"] = .string(error.message)
                return (result, ExitStatus.data)
            }
            result = library.summary
            result["file"] = .string(file)
            result["signers"] = .array(
                signers.map {
                    ["fingerprint": .string("\($0.fingerprint)"), "trusted": .bool(trusted[$0] != nil),
                     "name": trusted[$0].map { .string($0) } ?? .null]
                })
            let names = signers.compactMap { trusted[$0] }
            let (outcome, message) =
                if signers.isEmpty {
                    ("unsigned", "it is not signed")
                } else if names.isEmpty {
                    ("untrusted",
                     "signed by \(signers.map { "\($0.fingerprint)" }.joined(separator: " and ")), which is not trusted here")
                } else {
                    ("trusted", "signed by \(names.joined(separator: " and "))")
                }
            result["outcome"] = .string(outcome)
            result["message"] = .string(message)
            return (result, names.isEmpty ? ExitStatus.permission : ExitStatus.ok)
        }

        /// With what to call their holders.
        private func trustedKeys() throws -> [PublicKey: String] {
            var keys: [PublicKey: String] = [:]
            if key.isEmpty {
                for entry in try host.call("host.trust_list")["keys"]?.arrayValue ?? [] {
                    guard let name = entry["name"]?.stringValue, let pem = entry["key"]?.stringValue else { continue }
                    keys[try PublicKey(pem: Array(pem.utf8), name: name)] = name
                }
            } else {
                try reporting(host.json) {
                    for file in key { keys[try PublicKey(pem: KeyFile.read(file), name: file)] = file }
                }
            }
            return keys
        }
    }

    /// `knap plugins trust`.
    struct TrustCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "trust",
            abstract: "Choose whose plugins may run.",
            discussion: """
                What trust decides is the setting host.signatures:
                  any      everything runs; a trusted signature carries grants over to the next version
                  signed   only what a trusted key signed runs
                  pinned   the same, and only who signed the version before may sign the next

                EXAMPLES
                  knap plugins trust add alice.pub --name alice
                  knap plugins trust list
                  knap config set host.signatures pinned
                """,
            subcommands: [Add.self, List.self, Remove.self, Unpin.self], defaultSubcommand: List.self)

        struct Add: ParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Trust a public key.", discussion: "Compare the fingerprint with its owner's first.")
            @Argument(help: "The public key (PEM).", completion: .file()) var file: String
            @Option(help: "What to call its owner; default: the file's name without its ending.") var name: String?
            @OptionGroup var change: ChangeOptions

            func run() throws {
                let pem = try reporting(change.host.json) { try KeyFile.read(file) }
                let base = file.split(separator: "/").last.map(String.init) ?? file
                let name = self.name ?? String(base.prefix { $0 != "." })
                try change.run("host.trust_add", ["name": .string(name), "key": .string(String(decoding: pem, as: UTF8.self))])
            }
        }

        struct List: ParsableCommand {
            static let configuration = CommandConfiguration(abstract: "The trusted keys, and who signed what runs.")
            @OptionGroup var host: HostOptions

            func run() throws {
                host.show(try host.call("host.trust_list")) { result in
                    let keys = (result["keys"]?.arrayValue ?? []).map { entry -> JSON in
                        ["name": entry["name"] ?? .null, "fingerprint": entry["fingerprint"] ?? .null]
                    }
                    let pins = (result["pins"]?.objectValue ?? JSONObject()).members.map { plugin, signers -> JSON in
                        let names = (signers.arrayValue ?? []).compactMap(\.stringValue).joined(separator: ", ")
                        return ["plugin": .string(plugin), "signed by": .string(names)]
                    }
                    return [
                        "host.signatures is \(result["policy"]?.stringValue ?? "?")",
                        keys.isEmpty ? "No key is trusted." : Render.table(keys), pins.isEmpty ? "" : Render.table(pins),
                    ].filter { !$0.isEmpty }.joined(separator: "\n\n")
                }
            }
        }

        struct Remove: ParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Trust a key no longer.")
            @Argument(help: "The key's name.", completion: Completing.trustedKeys) var name: String
            @OptionGroup var change: ChangeOptions

            func run() throws { try change.run("host.trust_remove", ["name": .string(name)]) }
        }

        struct Unpin: NamedChange {
            static let configuration = CommandConfiguration(
                abstract: "Let another trusted key sign the next version of a plugin.")
            static let method = "host.trust_unpin"
            @OptionGroup var target: NamedTarget
        }
    }
}

extension InspectedLibrary {
    var summary: JSONObject {
        [
            "file": .string(path), "name": .string(manifest.name), "version": .string("\(manifest.version)"),
            "digest": .string("\(digest)"),
        ]
    }
}

/// Files that hold keys.
private enum KeyFile {
    /// More than any key in PEM has.
    private static let limit = 1 << 16

    static func read(_ path: String) throws -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw failure(ExitStatus.notFound, path) }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = Glibc.read(file, &bytes, limit)
        guard count >= 0 else { throw failure(ExitStatus.inputOutput, path) }
        return Array(bytes[..<count])
    }

    static func create(_ path: String, _ text: String, mode: mode_t) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard file >= 0 else { throw failure(ExitStatus.cannotCreate, path) }
        defer { close(file) }
        guard write(file, text, text.utf8.count) == text.utf8.count, fsync(file) == 0 else {
            let failure = failure(ExitStatus.inputOutput, path)
            unlink(path)
            throw failure
        }
    }

    private static func failure(_ status: Int32, _ path: String) -> CommandFailure {
        CommandFailure(status, "FILE", "\(path): \(String(cString: strerror(errno)))")
    }
}
