#include "chronos/base/shared_text.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

namespace chronos {
namespace {

// Names have 20 to 40 characters: one byte tells the length of most texts. In a longer one this
// byte stands there instead, and before it the length as a number.
constexpr unsigned char kLongMark = 255;
constexpr std::size_t kPieceSize = std::size_t{64} * 1024;

std::string_view view_of(const char* text) {
    const auto length = static_cast<unsigned char>(text[-1]);
    if (length != kLongMark) return {text, length};
    std::uint64_t long_length;
    std::memcpy(&long_length, text - 1 - sizeof long_length, sizeof long_length);
    return {text, static_cast<std::size_t>(long_length)};
}

/// All texts of the process: their bytes one behind the other, and a hash table of them with open
/// addressing. Neither has an overhead for each text but a place in the table.
class Texts {
public:
    const char* find_or_add(std::string_view text) {
        const std::lock_guard lock(mutex_);
        if ((count_ + 1) * 4 > table_.size() * 3) grow();
        const char*& place = place_of(text);
        if (place == nullptr) {
            place = add(text);
            ++count_;
        }
        return place;
    }

private:
    const char*& place_of(std::string_view text) {
        std::size_t at = std::hash<std::string_view>{}(text) & (table_.size() - 1);
        while (table_[at] != nullptr && view_of(table_[at]) != text)
            at = (at + 1) & (table_.size() - 1);
        return table_[at];
    }

    void grow() {
        std::vector<const char*> former(table_.size() * 2);
        former.swap(table_);
        for (const char* text : former)
            if (text != nullptr) place_of(view_of(text)) = text;
    }

    const char* add(std::string_view text) {
        const bool is_long = text.size() >= kLongMark;
        const std::uint64_t length = text.size();
        const std::size_t head = 1 + (is_long ? sizeof length : 0);
        char* at = take(head + text.size());
        if (is_long) std::memcpy(at, &length, sizeof length);
        at[head - 1] = static_cast<char>(is_long ? kLongMark : length);
        std::memcpy(at + head, text.data(), text.size());
        return at + head;
    }

    char* take(std::size_t size) {
        if (size > room_) {
            room_ = std::max(size, kPieceSize);
            pieces_.push_back(std::make_unique_for_overwrite<char[]>(room_));
            next_ = pieces_.back().get();
        }
        char* const taken = next_;
        next_ += size;
        room_ -= size;
        return taken;
    }

    std::mutex mutex_;
    std::vector<const char*> table_ = std::vector<const char*>(256);  ///< a power of two
    std::size_t count_ = 0;
    std::vector<std::unique_ptr<char[]>> pieces_;
    char* next_ = nullptr;
    std::size_t room_ = 0;  ///< bytes from next_ on
};

}  // namespace

SharedText::operator std::string_view() const {
    return text_ == nullptr ? std::string_view() : view_of(text_);
}

const char* SharedText::shared(std::string_view text) {
    // Never destroyed: texts may be looked at while the process ends.
    static auto& texts = *new Texts;
    return text.empty() ? nullptr : texts.find_or_add(text);
}

}  // namespace chronos
