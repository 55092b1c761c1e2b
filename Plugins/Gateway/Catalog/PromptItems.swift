import KnapJSON

/// A prompt that people start by name.
package struct Prompt: Sendable, Hashable {
    package var name: String
    package var method: String
    package var requiredArguments: [String]
    package var listing: JSON
    package var isInteractive: Bool

    init(_ offer: Offer) throws(Unservable) {
        name = try offer.item.required("name")
        method = try offer.item.required("method")
        let arguments = try offer.item.optional("arguments") { $0.arrayValue != nil }?.arrayValue ?? []
        requiredArguments = arguments.filter { $0["required"]?.boolValue == true }.compactMap {
            $0["name"]?.stringValue
        }
        listing = try offer.item.listing(["name", "title", "description", "arguments", "icons"])
        isInteractive = offer.item["interactive"]?.boolValue ?? false
    }
}

/// Who completes one argument of a prompt or of a resource template.
package struct Completion: Sendable, Hashable {
    package enum Subject: Sendable, Hashable {
        case prompt(String)
        case resource(String)
    }

    package var subject: Subject
    package var argument: String
    package var method: String

    init(_ offer: Offer) throws(Unservable) {
        guard let subject = Subject(offer.item["ref"]) else {
            throw Unservable(
                "its ref must be {\"type\": \"ref/prompt\", \"name\"} or {\"type\": \"ref/resource\", \"uri\"}")
        }
        self.subject = subject
        argument = try offer.item.required("argument")
        method = try offer.item.required("method")
    }
}

extension Completion.Subject {
    package init?(_ json: JSON?) {
        switch json?["type"]?.stringValue {
        case "ref/prompt":
            guard let name = json?["name"]?.stringValue else { return nil }
            self = .prompt(name)
        case "ref/resource":
            guard let uri = json?["uri"]?.stringValue else { return nil }
            self = .resource(uri)
        default: return nil
        }
    }
}
