"""Which dataclass each section of ``params.yaml`` becomes, as text, so that looking one up imports nothing."""

#: Class by section, as ``module:class``; dots in a section's name descend.
SECTIONS: dict[str, str] = {
    "phantom": "iqagpt.data.phantom:PhantomParams",
    "ingest": "iqagpt.data.ingest_params:IngestParams",
    "split": "iqagpt.data.split:SplitParams",
    "simulate": "iqagpt.data.lesions:SimulateParams",
    "denoisers.map_nn": "iqagpt.denoise.map_nn:MapNNParams",
    "denoisers.red_cnn": "iqagpt.denoise.red_cnn:RedCNNParams",
    "denoise": "iqagpt.denoise.further:DenoiseParams",
    "read": "iqagpt.readers.simulated:ReadParams",
    "caption": "iqagpt.captioner.tokenizer:CaptionParams",
    "pretrain": "iqagpt.captioner.pretraining:PretrainParams",
    "train": "iqagpt.captioner.fitting:TrainParams",
    "predict": "iqagpt.captioner.decoding:PredictParams",
    "baseline.vit_c": "iqagpt.baselines.vit_c:Params",
    "baseline.vit_r": "iqagpt.baselines.vit_r:Params",
    "baseline.minigpt4": "iqagpt.baselines.minigpt4:Params",
    "baseline.gpt4v": "iqagpt.baselines.gpt4v:Params",
    "baseline.noise_sd": "iqagpt.baselines.noise_sd:Params",
    "baseline.majority": "iqagpt.baselines.majority:Params",
    "baseline.majority_by_variant": "iqagpt.baselines.majority_by_variant:Params",
    "baseline.clip_iqa": "iqagpt.baselines.clip_iqa:Params",
    "baseline.clip_iqa_plus": "iqagpt.baselines.clip_iqa_plus:Params",
    "baseline.pyiqa": "iqagpt.baselines.pyiqa:Params",
    "evaluate": "iqagpt.evaluation.tables:EvaluateParams",
    "report": "iqagpt.chat.reports:ReportParams",
    "explain": "iqagpt.explain.explanation:ExplainParams",
    "page": "iqagpt.page.pictures:PageParams",
}

_STUDY_STAGES = ("caption", "pretrain", "train", "predict", "baseline", "evaluate", "report")
#: The same for ``study/params.yaml``, whose pipeline begins with a reader study in place of patients.
STUDY_SECTIONS: dict[str, str] = {"study": "iqagpt.study.importing:StudyParams"} | {
    section: target for section, target in SECTIONS.items() if section.split(".")[0] in _STUDY_STAGES
}
