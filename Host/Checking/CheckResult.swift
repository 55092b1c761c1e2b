import KnapJSON

/// How one test of a plugin ended.
package struct CheckResult: Sendable {
    package enum Outcome: String, Sendable, CaseIterable { case passed, warning, skipped, failed, crashed }

    package let name: String
    /// What must hold.
    package let sentence: String
    package let outcome: Outcome
    /// What was found, the first first.
    package let messages: [String]

    package var json: JSON {
        [
            "name": .string(name), "sentence": .string(sentence), "outcome": .string(outcome.rawValue),
            "messages": .array(messages.map { .string($0) }),
        ]
    }

    package init(name: String, sentence: String, outcome: Outcome, messages: [String] = []) {
        self.name = name
        self.sentence = sentence
        self.outcome = outcome
        self.messages = messages
    }
}
