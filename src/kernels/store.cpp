#include "store.h"

#include <cstdlib>
#include <iterator>
#include <mutex>
#include <new>
#include <vector>

namespace bitprop {
namespace {

// A training step asks for the same sizes again and again.  The C library gives such memory back to the system in
// between, and entering its pages anew takes longer than computing what they hold; so some of it is kept.  Of large
// pieces the system may take back what it needs while they lie idle.
class Store {
  public:
    static constexpr std::size_t kKept = std::size_t{256} << 20;
    static constexpr std::size_t kLarge = std::size_t{8} << 20, kLargePage = std::size_t{2} << 20;

    void* take(std::size_t bytes, Use use) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (auto piece = free_.rbegin(); piece != free_.rend(); ++piece) {
                if (piece->bytes != bytes) continue;
                void* found = piece->start;
                free_.erase(std::next(piece).base());
                held_ -= bytes;
                return found;
            }
        }
        const std::size_t unit = bytes < kLarge ? 64 : kLargePage;
        void* made = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
        if (made == nullptr) throw std::bad_alloc();
        if (use == Use::whole) expect_pages(static_cast<char*>(made), static_cast<std::int64_t>(bytes));
        return made;
    }
    void give(void* start, std::size_t bytes) {
        offer(start, bytes);
        std::vector<Piece> surplus;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            free_.push_back({start, bytes});
            held_ += bytes;
            while (held_ > kKept) {  // the oldest go
                surplus.push_back(free_.front());
                held_ -= free_.front().bytes;
                free_.erase(free_.begin());
            }
        }
        for (const Piece& piece : surplus) std::free(piece.start);
    }

  private:
    struct Piece {
        void* start;
        std::size_t bytes;
    };
    // What the piece holds may be lost: the system takes its pages where it lacks memory, and only there.
    static void offer(void* start, std::size_t bytes) {
#if defined(MADV_FREE)
        if (bytes >= kLarge) madvise(start, bytes / kLargePage * kLargePage, MADV_FREE);
#else
        (void)start, (void)bytes;
#endif
    }
    std::mutex mutex_;
    std::vector<Piece> free_;
    std::size_t held_ = 0;
};

// Never destroyed: tensors may outlive the module.
Store& store() {
    static Store* const made = new Store;
    return *made;
}

}  // namespace

void* take_room(std::size_t bytes, Use use) { return store().take(bytes, use); }

void give_room(void* start, std::size_t bytes) { store().give(start, bytes); }

}  // namespace bitprop
