#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>

namespace chronos {

/// The name of an owner or group, or none where an id has no name. All with the same text share it:
/// a large cluster has hundreds of thousands of files and few owners. Used like a
/// std::optional<const std::string>; any thread. Texts stay until the process ends.
class OwnerName {
public:
    OwnerName() = default;
    OwnerName(std::nullopt_t) {}  // NOLINT: implicit
    template <std::convertible_to<std::string_view> Text>
    OwnerName(const Text& text) : text_(shared(text)) {}  // NOLINT: implicit
    OwnerName(const std::optional<std::string>& text)     // NOLINT: implicit
        : text_(text ? shared(*text) : nullptr) {}

    explicit operator bool() const { return text_ != nullptr; }
    bool has_value() const { return text_ != nullptr; }
    const std::string& operator*() const { return *text_; }
    const std::string* operator->() const { return text_; }

    bool operator==(const OwnerName&) const = default;

private:
    static const std::string* shared(std::string_view text);
    const std::string* text_ = nullptr;
};

}  // namespace chronos
