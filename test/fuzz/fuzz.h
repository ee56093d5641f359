#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

/// What a fuzzer claims of its input: where it does not hold the run ends, and the input is kept.
inline void require(bool holds, int line = __builtin_LINE()) {
    if (holds) return;
    std::fprintf(stderr, "what line %d requires does not hold\n", line);
    std::abort();
}

/// The input, taken apart from its front: choices first, and text for the parsers behind them.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

    /// 0 when there is nothing left.
    std::uint8_t byte() {
        if (rest_.empty()) return 0;
        const std::uint8_t value = rest_.front();
        rest_ = rest_.subspan(1);
        return value;
    }
    template <class Number>
    Number number() {
        Number value = 0;
        for (std::size_t i = 0; i < sizeof value; ++i)
            value = static_cast<Number>(value | Number{byte()} << 8 * i);
        return value;
    }
    /// As many bytes as there are, at most.
    std::string_view take(std::size_t size) {
        const std::string_view taken = rest().substr(0, size);
        rest_ = rest_.subspan(taken.size());
        return taken;
    }
    std::string_view rest() const {
        return {reinterpret_cast<const char*>(rest_.data()), rest_.size()};
    }
    std::span<const std::byte> bytes() const { return std::as_bytes(rest_); }
    bool empty() const { return rest_.empty(); }

private:
    std::span<const std::uint8_t> rest_;
};
