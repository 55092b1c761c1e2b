/// The media types of an `Accept` header; without one everything is accepted (RFC 9110, section 12.5.1).
struct AcceptedTypes {
    private let ranges: [String]

    init(_ header: String?) {
        ranges = (header ?? "*/*").split(separator: ",").compactMap { range in
            let parts = range.split(separator: ";").map { String($0).trimmingSpaces.lowercased() }
            return parts.dropFirst().contains { $0 == "q=0" || $0 == "q=0.0" } ? nil : parts.first
        }
    }

    func has(_ type: String) -> Bool {
        let family = type.prefix { $0 != "/" }
        return ranges.contains { $0 == type || $0 == "*/*" || $0 == "\(family)/*" }
    }
}
