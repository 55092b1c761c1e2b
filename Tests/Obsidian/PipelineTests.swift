import KnapPlugin
import Testing

@testable import Obsidian

@Suite("Tasks in lines")
struct TaskLineTests {
    @Test(
        "fields are read from the end, and what is no field is text",
        arguments: [
            ("- [ ] a 📅 2026-05-31", "a", "due", "2026-05-31"), ("- [ ] a 🗓️ 2026-05-31 #t", "a #t", "due", "2026-05-31"),
            ("1. [ ] a ⏳ 2026-05-31 🔼", "a", "scheduled", "2026-05-31"), ("> * [ ] a 🛫2026-05-31", "a", "start", "2026-05-31"),
            ("+ [ ] a (completion:: 2026-05-31)", "a", "done", "2026-05-31"), ("- [ ] ➕ 2026-05-31", "", "created", "2026-05-31"),
            ("- [ ] a 📅 2026-05-31 🏁 delete", "a", "due", "2026-05-31"), ("- [ ] a 📅 2026-05-31 b", "a 📅 2026-05-31 b", "due", nil),
            ("- [ ] a 📅 2026-13-31", "a 📅 2026-13-31", "due", nil), ("- [ ] a 📅", "a 📅", "due", nil),
            ("- [ ] a 📅 2026-05-31 🆔 x1 ⛔ y, z", "a", "due", "2026-05-31"),
        ] as [(String, String, String, String?)])
    func fields(line: String, text: String, name: String, date: String?) throws {
        let task = try #require(TaskLine(line, line: 0, mark: " "))
        #expect(task.text == text && task.dates[name] == date)
    }
}

@Suite("The order of processors")
struct ProcessorPlanTests {
    private func processor(_ name: String, needs: [String] = [], after: [String] = [], version: String = "1") -> NoteProcessor {
        var processor = NoteProcessor(builtIn: name, version: version) { _, _ in [:] }
        (processor.needs, processor.after) = (needs, after)
        return processor
    }

    @Test("each runs behind those that it names, and those without a need that is met not at all")
    func order() {
        let plan = ProcessorPlan([
            processor("c", needs: ["b"], after: ["nowhere"]), processor("d", needs: ["lost"]), processor("e", needs: ["d"]),
            processor("b", after: ["a"]), processor("a"), processor("x", after: ["y"]), processor("y", needs: ["x"]),
            processor("self", needs: ["self"]), processor("a"),
        ])
        #expect(plan.steps.map(\.name) == ["a", "b", "c"])
        #expect(Set(plan.problems.map(\.processor)) == ["d", "e", "x", "y", "self", "a"])
        #expect(plan.dependents(of: "a") == ["b", "c"])
    }

    @Test("a result is another one when what it was made from is made by another version")
    func keys() {
        func keys(_ version: String) -> [String] {
            ProcessorPlan([processor("a", version: version), processor("b", after: ["a"]), processor("c", needs: ["b"]), processor("d")]).steps.map(\.key)
        }
        let (one, two) = (keys("1"), keys("2"))
        #expect(zip(one, two).map { $0 != $1 } == [true, true, true, false])
        #expect(one == keys("1"))
    }
}

@Suite("Rules for paths")
struct PathRuleTests {
    @Test(
        "a pattern fits what it says and what is below",
        arguments: [
            ("Work", "work/a.md", true), ("Work", "Workshop/a.md", false), ("Work/a.md", "Work/a.md", true), ("*", "a.md", true),
            ("*/x", "a/x/y.md", true), ("*/x", "a/b/x/y.md", false), ("**/x", "a/b/x/y.md", true), ("**", "a/b", true),
            ("**.secret.md", "a/b.secret.md", true), ("Work/*.md", "Work/a.md", true), ("Work/*.md", "Work/a/b.md", false),
            ("a?c", "abc", true), ("a?c", "a/c", false), ("Ä/*", "ä/x", true), ("a**b**c", "aXbYbZc", true), ("a*", "", false),
        ])
    func globs(pattern: String, path: String, fits: Bool) { #expect(Glob(pattern, isPath: true).matches(path) == fits) }

    @Test("the last rule that fits decides, and names of callers are patterns")
    func rules() {
        let access = PathAccess([
            PathRule(path: "**", access: .none), PathRule(path: "Work/", access: .write), PathRule(path: "/Work/fixed", access: .read),
        ])
        #expect(access.level(of: "a.md") == .none && access.level(of: "Work/a.md") == .write && access.level(of: "work/Fixed/x.md") == .read)
        // The trash and the settings are the plugin's own business.
        #expect(access.level(of: ".trash/a.md") == .write && PathAccess.all.level(of: "a.md") == .write)
        let rule = PathRule(path: "x", access: .none, callers: ["token:*", "local"])
        #expect(rule.concerns("token:a") && rule.concerns("local") && !rule.concerns("locals") && !rule.concerns("mcp-http"))
    }
}
