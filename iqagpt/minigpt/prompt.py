"""The conversation in which MiniGPT-4 shows an image and gets a caption: its second stage's prompt.

Source: Vision-CAIR/MiniGPT-4, ``prompts/alignment.txt`` and ``train_configs/minigpt4_stage2_finetune.yaml``.
"""

HUMAN, ASSISTANT = "###Human: ", " ###Assistant: "
IMAGE = "<Img>", "</Img>"
#: Ends an answer; learned with it.
END = "###"
#: One is drawn for each step of the fit; the first asks for every prediction.
INSTRUCTIONS = (
    "Describe this image in detail.",
    "Take a look at this image and describe what you notice.",
    "Please provide a detailed description of the picture.",
    "Could you describe the contents of this image for me?",
)


def before_image() -> str:
    """Return what stands before the image."""
    return f"{HUMAN}{IMAGE[0]}"


def after_image(instruction: str) -> str:
    """Return what stands between the image and the answer."""
    return f"{IMAGE[1]} {instruction}{ASSISTANT}"


def until_end(text: str) -> str:
    """Return an answer up to `END`, on one line."""
    return " ".join(text.split(END)[0].split())
