#include "ops/backup/bundle.h"

namespace chronos::ops::backup {
namespace {

class MemberSink final : public io::Sink {
public:
    MemberSink(io::Sink& object, std::uint64_t& size) : object_(object), size_(size) {}
    Result<> write(io::Bytes in) override {
        size_ += in.size();
        return object_.write(in);
    }
    Result<> finish() override { return {}; }

private:
    io::Sink& object_;
    std::uint64_t& size_;
};

}  // namespace

Result<Bundle::Member> Bundle::add_member() {
    if (!object_) {
        id_ = ids_.next();
        object_ = std::make_unique<StoringSink>(
            CHRONOS_TRY(clock_.storing([&] {
                return storage_.create(directory_ + "/bundle/" + std::to_string(id_),
                                       storage::WriteMode::plain);
            })),
            clock_);
    }
    return Member{id_, size_, std::make_unique<MemberSink>(*object_, size_)};
}

Result<> Bundle::finish() {
    return object_ ? object_->finish() : Result<>{};
}

}  // namespace chronos::ops::backup
