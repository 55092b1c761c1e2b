import Glibc

/// Times as people and notes write them, in the machine's time zone.
enum Timestamp {
    /// `2026-05-31T09:30:00`.
    static func text(_ seconds: Double) -> String {
        var time = time_t(seconds)
        var parts = tm()
        guard localtime_r(&time, &parts) != nil else { return "" }
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }

    /// Seconds since 1970 for a date with or without a time of day; nil when it is neither.
    static func parse(_ text: String) -> Int64? {
        let halves = text.split(whereSeparator: { $0 == "T" || $0 == " " })
        guard let day = halves.first.flatMap({ numbers($0, "-") }), day.count == 3, halves.count <= 2 else { return nil }
        let time = halves.count == 2 ? numbers(halves[1], ":") : [0, 0]
        guard let time, (2...3).contains(time.count), (1...12).contains(day[1]), (1...31).contains(day[2]) else { return nil }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (day[0] - 1900, day[1] - 1, day[2])
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (time[0], time[1], time.count == 3 ? time[2] : 0)
        parts.tm_isdst = -1
        let seconds = mktime(&parts)
        return seconds == -1 ? nil : Int64(seconds)
    }

    private static func numbers(_ text: Substring, _ separator: Character) -> [Int32]? {
        let numbers = text.split(separator: separator, omittingEmptySubsequences: false).map { Int32($0) }
        return numbers.contains(nil) ? nil : numbers.compactMap { $0 }
    }
}
