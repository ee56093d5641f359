#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace chronos {

/// A text of which a process holds very many, often the same one: a file name that stands in two
/// manifests and a list, the label that every entry refers to. The size of a pointer; the text
/// itself is kept once, until the process ends. A value that any thread may use.
class SharedText {
public:
    SharedText() = default;
    template <std::convertible_to<std::string_view> Text>
    requires(!std::same_as<Text, SharedText>) SharedText(const Text& text)  // NOLINT: implicit
        : text_(shared(text)) {}

    operator std::string_view() const;
    std::string_view view() const { return *this; }
    std::string str() const { return std::string(view()); }
    bool empty() const { return text_ == nullptr; }

    /// Equal texts are the same text.
    bool operator==(const SharedText&) const = default;
    template <std::convertible_to<std::string_view> Text>
    requires(!std::same_as<Text, SharedText>) bool operator==(const Text& text) const {
        return view() == std::string_view(text);
    }
    /// Bytewise.
    std::strong_ordering operator<=>(const SharedText& other) const {
        return view() <=> other.view();
    }

    friend std::string operator+(std::string left, const SharedText& right) {
        return std::move(left.append(right.view()));
    }
    friend std::string operator+(const SharedText& left, std::string_view right) {
        return left.str().append(right);
    }

private:
    static const char* shared(std::string_view text);
    const char* text_ = nullptr;  ///< of the first character; its length stands before it
};

}  // namespace chronos
