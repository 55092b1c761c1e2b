/// Random bits from the kernel in hexadecimal: what nobody can guess.
func randomText(bits: Int = 128) -> String {
    (0..<bits / 64).map { _ in
        let digits = String(UInt64.random(in: .min ... .max), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
}
