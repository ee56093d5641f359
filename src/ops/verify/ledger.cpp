#include "ops/verify/ledger.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/repo/proven_text.h"
#include "chronos/storage/readable.h"

namespace chronos::ops::verify {
namespace {

constexpr std::string_view kTitle = "chronos-verify 1";

std::uint64_t print_of(const storage::Entry& entry) {
    const std::string text =
        std::to_string(entry.size) + " " + std::to_string(entry.modified) + " " + entry.name;
    const auto digest = crypto::xxh3_128(io::bytes(text));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i)
        value = value << 8 | std::to_integer<std::uint64_t>(digest[i]);
    return value;
}

/// Ascending; empty if a line is none of ours.
std::vector<std::uint64_t> parse_prints(std::string_view text) {
    std::vector<std::uint64_t> prints;
    prints.reserve(text.size() / 17);
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        std::uint64_t value = 0;
        const auto [end, code] = std::from_chars(line.data(), line.data() + line.size(), value, 16);
        if (code != std::errc() || end != line.data() + line.size() || line.size() != 16) return {};
        prints.push_back(value);
        text.remove_prefix(std::min(text.size(), line.size() + 1));
    }
    std::ranges::sort(prints);
    return prints;
}

std::string format_prints(const std::vector<std::uint64_t>& prints) {
    std::string text;
    text.reserve(prints.size() * 17);
    for (const std::uint64_t print : prints) {
        char line[18];
        std::snprintf(line, sizeof line, "%016llx\n", static_cast<unsigned long long>(print));
        text += line;
    }
    return text;
}

struct Content {
    std::string key;
    std::vector<std::uint64_t> prints;
    bool operator==(const Content&) const = default;
};

/// nullopt if it is no ledger of this version.
std::optional<Content> parse(std::string_view text) {
    const auto line = [&] {
        const std::string_view first = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), first.size() + 1));
        return first;
    };
    if (line() != kTitle) return std::nullopt;
    Content content;
    content.key = line();
    content.prints = parse_prints(text);
    return content;
}

}  // namespace

std::string ledger_path(const std::string& stanza) {
    return "chronos/" + stanza + "/verify";
}

Ledger::Ledger(Ledger&& other) noexcept
    : place_(std::move(other.place_)),
      key_(std::move(other.key_)),
      known_(std::move(other.known_)),
      good_(std::move(other.good_)),
      changed_(other.changed_) {}

Ledger Ledger::load(Place place) {
    Ledger ledger(std::move(place));
    const auto text =
        repo::read_text(*ledger.place_.repository, ledger.place_.object, ledger.place_.pass);
    if (!text) return ledger;
    if (auto content = parse(*text)) {
        ledger.key_ = std::move(content->key);
        ledger.known_ = std::move(content->prints);
    }
    return ledger;
}

void Ledger::expect(const std::string& key) {
    const std::lock_guard lock(mutex_);
    if (key_ == key) return;
    key_ = key;
    known_.clear();
    changed_ = true;
}

bool Ledger::knows(const storage::Entry& entry) {
    const std::uint64_t print = print_of(entry);
    if (!std::ranges::binary_search(known_, print)) return false;
    if (!storage::may_read(*place_.repository->storage, place_.listed + "/" + entry.name))
        return false;
    const std::lock_guard lock(mutex_);
    good_.push_back(print);
    return true;
}

void Ledger::add(const storage::Entry& entry) {
    const std::lock_guard lock(mutex_);
    good_.push_back(print_of(entry));
    changed_ = true;
}

void Ledger::save() {
    const std::lock_guard lock(mutex_);
    if (changed_ || good_.size() != known_.size()) save_locked();
}

void Ledger::save_every(std::chrono::milliseconds interval) {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || !changed_ || std::chrono::steady_clock::now() - saved_ < interval) return;
    save_locked();
}

void Ledger::save_locked() {
    std::ranges::sort(good_);
    good_.erase(std::unique(good_.begin(), good_.end()), good_.end());
    const std::string text = std::string(kTitle) + "\n" + key_ + "\n" + format_prints(good_);
    const Content meant{key_, good_};
    const Result<> saved = repo::write_text(*place_.repository, place_.object, text, place_.pass,
                                            repo::reads_back_as(meant, parse));
    if (!saved) log_detail("what was verified is not written down: " + saved.error().message());
    changed_ = false;
    saved_ = std::chrono::steady_clock::now();
}

}  // namespace chronos::ops::verify
