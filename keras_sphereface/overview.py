def estimate(steps_done, steps_left, seconds, batch_size):
    return (
        f"{steps_done * batch_size / seconds:.1f}/s left {steps_left * seconds / steps_done:.0f}s"
    )
