import KnapPlugin
import TestSupport
import Testing

@testable import Obsidian

@Suite("A search query")
struct SearchQueryTests {
    @Test(
        "is read into its tree",
        arguments: [
            ("a b", .all([.word("a"), .word("b")])), ("  a  ", .word("a")),
            ("a b OR c", .any([.all([.word("a"), .word("b")]), .word("c")])),
            ("a (b OR c) d", .all([.word("a"), .any([.word("b"), .word("c")]), .word("d")])),
            ("OR1 or", .all([.word("OR1"), .word("or")])),
            ("-a", .not(.word("a"))), ("-(a b)", .not(.all([.word("a"), .word("b")]))), ("--a", .not(.not(.word("a")))),
            ("a - b", .all([.word("a"), .word("-"), .word("b")])),
            ("a-b", .word("a-b")), ("\"a  b\"", .phrase("a  b")), (#""say \"a\" \\ \n""#, .phrase(#"say "a" \ \n"#)),
            ("a\"b\"", .all([.word("a"), .phrase("b")])),
            ("foo:bar", .word("foo:bar")), ("http://x", .word("http://x")), ("tag:#a/b", .scoped(.tag, .word("#a/b"))),
            ("TAG:a", .scoped(.tag, .word("a"))),
            ("path:\"Daily notes/2022\"", .scoped(.path, .phrase("Daily notes/2022"))),
            ("file:.jpg", .scoped(.file, .word(".jpg"))),
            ("line:(a -b)", .scoped(.line, .all([.word("a"), .not(.word("b"))]))),
            ("task-todo:(a OR b)", .scoped(.todo, .any([.word("a"), .word("b")]))),
            ("task-done:a", .scoped(.done, .word("a"))),
            ("match-case:content:A", .scoped(.matchCase, .scoped(.content, .word("A")))),
            ("-tag:-a", .not(.scoped(.tag, .not(.word("a"))))), (#"/\d{4}-\/[/]x y/"#, .regex(#"\d{4}-\/[/]x y"#)),
            ("path:/a b/ c", .all([.scoped(.path, .regex("a b")), .word("c")])),
            ("/usr/local", .word("/usr/local")), ("/", .word("/")), ("(/a/)", .regex("a")),
            ("[[A note]] x", .all([.phrase("[[A note]]"), .word("x")])),
            ("[a]", .property(.word("a"), nil)), ("[a:b]", .property(.word("a"), .word("b"))),
            ("[a:b:c]", .property(.word("a"), .word("b:c"))),
            ("[a:x OR \"y z\"]", .property(.word("a"), .any([.word("x"), .phrase("y z")]))),
            ("[a:(x OR y) -z]", .property(.word("a"), .all([.any([.word("x"), .word("y")]), .not(.word("z"))]))),
            ("[\"a b\" OR c: null ]", .property(.any([.phrase("a b"), .word("c")]), .word("null"))),
            ("[a:<5]", .property(.word("a"), .number(.less, 5))),
            ("[a:>-0.5 <10]", .property(.word("a"), .all([.number(.greater, -0.5), .number(.less, 10)]))),
            ("[a:/x]y/]", .property(.word("a"), .regex("x]y"))),
            ("[a:match-case:B]", .property(.word("a"), .scoped(.matchCase, .word("B")))), ("a<5", .word("a<5")),
            ("-[a]", .not(.property(.word("a"), nil))), ("a]", .word("a]")),
        ] as [(String, SearchQuery)])
    func parses(text: String, tree: SearchQuery) throws {
        #expect(try SearchQuery(text) == tree)
        #expect(try SearchQuery(tree.description) == tree, "\(tree)")
    }

    @Test(
        "that cannot be read is answered with the place and what is allowed",
        arguments: [
            ("", nil, "empty"), (" \n ", nil, "empty"), ("a (b", 3, "no ')'"), ("a) b", 2, "closes no '('"),
            ("a \"b", 3, "no end"), ("-\"x", 2, "no end"),
            ("()", 2, "missing"), ("a ()", 4, "missing"), ("OR a", 1, "\"OR\""), ("a OR", 5, "missing"),
            ("a OR OR b", 6, "missing"), ("tag:", 5, "directly behind"), ("file: a", 6, "directly behind"),
            ("[a", 1, "no ']'"), ("[a:b", 1, "no ']'"), ("[]", 2, "missing"), ("[ ]", 3, "missing"),
            ("[a:]", 4, "[name:null]"), ("\"\"", 1, "empty"), ("a /b(/", 5, "no ')'"),
            (String(repeating: "(", count: 2000), 17, "levels"),
            (String(repeating: "-", count: 50) + "a", 17, "levels"),
            (String(repeating: "a ", count: 1000), 201, "100 terms"),
            (String(repeating: "a", count: 5000), nil, "4000"),
        ] as [(String, Int?, String)])
    func refuses(text: String, character: Int?, reason: String) {
        let error = #expect(throws: PluginError.self) { try SearchQuery(text) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
        if let character {
            #expect(error?.message.contains("character \(character):") == true, "\(error?.message ?? "")")
        }
    }

    @Test("any tree, printed, is read into the same tree", arguments: 1...10 as ClosedRange<UInt64>)
    func printing(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            let tree = RandomQuery.tree(&random, depth: 4)
            #expect(try SearchQuery(tree.description) == tree, "seed \(seed): \(tree)")
        }
    }

    @Test("any text is read or refused", arguments: 1...10 as ClosedRange<UInt64>)
    func anyText(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<2000 {
            let text = RandomQuery.text(&random)
            do {
                let tree = try SearchQuery(text)
                #expect(try SearchQuery(tree.description) == tree, "seed \(seed): \(text)")
            } catch {
                #expect(error.code == .invalidArgument)
            }
        }
    }
}

enum RandomQuery {
    static let words = [
        "apple", "pear", "plum", "app", "ear", "Red", "tree", "2024", "café", "naïve", "a", "x-y", "[b]", "<5", "東京",
    ]
    private static let syntax = [
        "(", ")", "\"", "\\", "[", "]", ":", "-", "/", "OR", " ", " ", "tag:", "line:", "[status:", "match-case:",
        "null", ">", "5", "*", "\0", "é", "\n", "#",
    ]

    static func pick<T>(_ elements: [T], _ random: inout SeededGenerator) -> T {
        elements[Int(random.next() % UInt64(elements.count))]
    }

    static func text(_ random: inout SeededGenerator) -> String {
        (0..<random.next() % 12).map { _ in pick(random.next() % 3 == 0 ? words : syntax, &random) }.joined()
    }

    static func tree(_ random: inout SeededGenerator, depth: Int) -> SearchQuery {
        switch depth == 0 ? random.next() % 5 : random.next() % 14 {
        case 0, 1: return .word(pick(words.filter { !$0.hasPrefix("[") }, &random))
        case 2: return .phrase(pick(["red apple", "a \"pear\"", "e t", "\\", "tree.", "[[x]]"], &random))
        case 3: return .regex(pick([#"p+l"#, #"^\w+ e"#, "a [b/]", "(a|e)r$"], &random))
        case 4:
            return .scoped(
                pick([.file, .path, .tag], &random), .word(pick(["fruit", "one", "sub/", "fruit/red", "e"], &random)))
        case 5, 6: return .all(parts(&random, depth))
        case 7, 8: return .any(parts(&random, depth))
        case 9, 10: return .not(tree(&random, depth: depth - 1))
        case 11: return property(&random, depth)
        default: return .scoped(pick(SearchQuery.Scope.allCases, &random), tree(&random, depth: depth - 1))
        }
    }

    private static func parts(_ random: inout SeededGenerator, _ depth: Int) -> [SearchQuery] {
        (0..<2 + random.next() % 2).map { _ in tree(&random, depth: depth - 1) }
    }

    private static func property(_ random: inout SeededGenerator, _ depth: Int) -> SearchQuery {
        func value(_ depth: Int) -> SearchQuery {
            switch depth == 0 ? random.next() % 5 : random.next() % 8 {
            case 0: .word(pick(["open", "null", "3", "a:b"], &random))
            case 1: .phrase("open")
            case 2: .regex("^o")
            case 3, 4: .number(pick([.less, .greater], &random), Double(random.next() % 9) - 4)
            case 5: .not(value(depth - 1))
            case 6: .any([value(depth - 1), value(depth - 1)])
            default: .all([value(depth - 1), value(depth - 1)])
            }
        }
        let name: SearchQuery =
            random.next() % 4 == 0
            ? .any([.word("status"), .phrase("a b")]) : .word(pick(["status", "rank", "tags"], &random))
        return .property(name, random.next() % 3 == 0 ? nil : value(min(depth, 2)))
    }
}
