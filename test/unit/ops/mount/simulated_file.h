#pragma once

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ops/mount/lower_file.h"

namespace chronos::ops::mount {

/// What bytes were, and what they have been since they were last known to be durable: sector by
/// sector, for a disk writes each by itself, in any order.
class History {
public:
    static constexpr std::size_t kSector = 512;

    explicit History(std::string content) : durable_(content), now_(std::move(content)) {}

    const std::string& now() const { return now_; }
    void write(std::uint64_t offset, std::string_view content) {
        may_write(offset, content);
        now_.resize(std::max<std::size_t>(now_.size(), offset + content.size()));
        now_.replace(offset, content.size(), content);
    }
    void resize(std::uint64_t size) {
        may_resize(size);
        now_.resize(size);
    }
    void sync() {
        durable_ = now_;
        versions_.clear();
        sizes_.clear();
    }
    void start_again(const std::string& content) {
        now_ = content;
        sync();
    }
    /// It may be there after a power failure, and is not done.
    void may_write(std::uint64_t offset, std::string_view content) {
        if (content.empty()) return;
        std::string after = now_;
        after.resize(std::max<std::size_t>(now_.size(), offset + content.size()));
        after.replace(offset, content.size(), content);
        note(after, offset / kSector, (offset + content.size() - 1) / kSector);
        sizes_.push_back(after.size());
    }
    void may_resize(std::uint64_t size) {
        std::string after = now_;
        after.resize(size);
        const std::size_t from = std::min<std::size_t>(size, now_.size());
        const std::size_t end = std::max<std::size_t>(size, now_.size());
        if (end > from) note(after, from / kSector, (end - 1) / kSector);
        sizes_.push_back(size);
    }

    /// One of the contents that may be there after a power failure.
    std::string after_power_failure(std::mt19937_64& random) const {
        const auto below = [&](std::size_t count) { return random() % count; };
        const std::size_t chosen = below(sizes_.size() + 1);
        std::string content = durable_;
        content.resize(chosen == 0 ? durable_.size() : sizes_[chosen - 1]);
        for (const auto& [sector, versions] : versions_) {
            const std::size_t version = below(versions.size() + 1);
            if (version == 0 || sector * kSector >= content.size()) continue;
            const std::size_t size = std::min(kSector, content.size() - sector * kSector);
            content.replace(sector * kSector, size, versions[version - 1], 0, size);
        }
        return content;
    }
    /// Here a sector may be of two times: what the backup has ends in it.
    void tear_at(std::uint64_t place) { tears_.insert(place); }
    /// "", or what of the content cannot be there.
    std::string objection(const std::string& content) const {
        if (content.size() != durable_.size() &&
            std::ranges::find(sizes_, content.size()) == sizes_.end())
            return "it has " + std::to_string(content.size()) + " bytes";
        for (std::size_t sector = 0; sector * kSector < content.size(); ++sector) {
            std::size_t begin = sector * kSector;
            const std::size_t end = std::min(content.size(), begin + kSector);
            for (auto tear = tears_.upper_bound(begin); begin < end; ++tear) {
                const bool is_whole = tear == tears_.end() || *tear >= end;
                const std::size_t part_end = is_whole ? end : *tear;
                if (!was_so(content, sector, begin, part_end))
                    return "what is at " + std::to_string(begin) + " was never so";
                begin = part_end;
                if (is_whole) break;
            }
        }
        return "";
    }

private:
    static std::string sector_of(const std::string& content, std::size_t sector) {
        std::string text =
            sector * kSector < content.size() ? content.substr(sector * kSector, kSector) : "";
        text.resize(kSector);
        return text;
    }
    bool was_so(const std::string& content, std::size_t sector, std::size_t begin,
                std::size_t end) const {
        const std::string_view is = std::string_view(content).substr(begin, end - begin);
        const auto fits = [&](const std::string& version) {
            return std::string_view(version).substr(begin % kSector, end - begin) == is;
        };
        const auto found = versions_.find(sector);
        return fits(sector_of(durable_, sector)) ||
               (found != versions_.end() && std::ranges::any_of(found->second, fits));
    }
    void note(const std::string& after, std::size_t first, std::size_t last) {
        for (std::size_t sector = first; sector <= last; ++sector)
            versions_[sector].push_back(sector_of(after, sector));
    }

    std::string durable_, now_;
    std::map<std::size_t, std::vector<std::string>> versions_;
    std::vector<std::size_t> sizes_;
    std::set<std::size_t> tears_;
};

/// A file of a disk that forgets what was not synced.
struct SimulatedDisk {
    std::map<std::string, History> files;
    std::function<void()> at_each_step;  ///< also in the middle of what is done to a file
    int error = 0;                       ///< of the next sync
    bool full = false;                   ///< nothing can be written to the data

    /// What is there after a power failure, or after the process has died.
    SimulatedDisk after(bool power_failure, std::mt19937_64& random) const {
        SimulatedDisk left;
        for (const auto& [name, history] : files)
            left.files.emplace(name,
                               power_failure ? history.after_power_failure(random) : history.now());
        return left;
    }
};

class SimulatedFile final : public LowerFile {
public:
    SimulatedFile(SimulatedDisk& disk, std::string name) : disk_(disk), name_(std::move(name)) {}

    int read(std::uint64_t offset, std::size_t size, std::string& content) const override {
        const std::string& now = history().now();
        content = offset < now.size() ? now.substr(offset, size) : "";
        content.resize(size);
        return 0;
    }
    int write(std::uint64_t offset, std::string_view content) override {
        if (disk_.full && name_ == "data") return ENOSPC;
        history().write(offset, content);
        return step();
    }
    int resize(std::uint64_t size_bytes) override {
        history().resize(size_bytes);
        return step();
    }
    int allocate(std::uint64_t offset, std::uint64_t size_bytes, bool keep_size) override {
        if (disk_.full) return ENOSPC;
        if (!keep_size && offset + size_bytes > history().now().size())
            history().resize(offset + size_bytes);
        return step();
    }
    int size(std::uint64_t& size_bytes) const override {
        size_bytes = history().now().size();
        return 0;
    }
    int sync() override {
        if (disk_.error != 0) return std::exchange(disk_.error, 0);
        history().sync();
        return step();
    }

private:
    History& history() const { return disk_.files.at(name_); }
    int step() {
        if (disk_.at_each_step) disk_.at_each_step();
        return 0;
    }
    SimulatedDisk& disk_;
    std::string name_;
};

}  // namespace chronos::ops::mount
